"""The saved states of a run: written whole or not at all, the last few kept, and the newest sound one found again.

A saved state is a folder of `backbone.safetensors` (the weights, ready to use), `state.pt` (all that a resumed run
needs beside them; tensors and plain values, loaded without running code), in a run of several processes a
`state-1.pt` and so on with what each of these alone has, and `saved.json`, which is written last and holds the step and
the SHA-256 of the others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facedistill.checkpoint import Checkpoint, save_checkpoint
from facedistill.errors import ModelFileError
from facedistill.files import file_sha256, force_to_disk

LAST = "last"
EARLIER = "earlier"
DAMAGED = "damaged"
PARTIAL = ".saving"
_MANIFEST = "saved.json"
BACKBONE = "backbone.safetensors"
# Bytes below which a disk is full.
NOTHING_LEFT = 1 << 16


@dataclass(frozen=True)
class SavedState:
    """A folder whose contents were checked, and the step after which it was written."""

    folder: Path
    step: int

    def load(self, rank: int = 0) -> dict[str, Any]:
        """What `write_state` was given by the process of that rank, on the CPU.

        Raises:
            ModelFileError: there is nothing of that process, or it cannot be read.
        """
        file = self.folder / state_name(rank)
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise ModelFileError(f"the saved state cannot be read ({error})", place=file) from error
        return state


def state_name(rank: int) -> str:
    """The file that the process of that rank writes."""
    return f"state-{rank}.pt" if rank else "state.pt"


def begin(run: Path) -> Path:
    """An empty folder to write the next state into; by the first process, before any writes."""
    folder = run / PARTIAL
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def partial_folder(run: Path) -> Path:
    """Where `begin` makes the folder."""
    return run / PARTIAL


def write_state(folder: Path, state: dict[str, Any], rank: int = 0) -> None:
    """Write what one process has; OSError where the disk is full."""
    file = folder / state_name(rank)
    try:
        torch.save(state, file)
    except RuntimeError as error:  # what torch makes of a write that the system refused, whatever it says
        full = shutil.disk_usage(folder).free < NOTHING_LEFT
        raise OSError("no space left on device" if full else f"the file could not be written: {error}") from error
    force_to_disk(file)


def finish(run: Path, step: int, checkpoint: Checkpoint, *, keep: int) -> None:
    """Write the weights and the manifest, and make the folder the last state; by the first process, after all wrote.

    Args:
        run: the run folder.
        step: steps that were taken.
        checkpoint: the weights as they are to be used.
        keep: how many states to keep, the last one included.
    """
    folder = run / PARTIAL
    save_checkpoint(folder / BACKBONE, checkpoint)
    force_to_disk(folder / BACKBONE)
    files = {file.name: file_sha256(file) for file in sorted(folder.iterdir())}
    manifest = folder / _MANIFEST
    manifest.write_text(json.dumps({"step": step, "files": files}, indent=2) + "\n", encoding="utf-8")
    force_to_disk(manifest)
    force_to_disk(folder)
    last = run / LAST
    if last.is_dir():
        before = read_manifest(last)
        target = run / EARLIER / f"step-{0 if before is None else before['step']:09d}"
        target.parent.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        last.rename(target)
    folder.rename(last)
    force_to_disk(run)
    for old in earlier_states(run)[max(0, keep - 1) :]:
        shutil.rmtree(old, ignore_errors=True)
    if (run / EARLIER).is_dir() and not any((run / EARLIER).iterdir()):
        (run / EARLIER).rmdir()


def abandon(run: Path) -> None:
    """Remove a state that could not be written to its end."""
    shutil.rmtree(run / PARTIAL, ignore_errors=True)


def earlier_states(run: Path) -> list[Path]:
    """The folders of the states before the last, the newest first."""
    return sorted((run / EARLIER).glob("step-*"), reverse=True)


def has_state(run: Path) -> bool:
    """Whether there is anything that looks like a saved state."""
    return any((folder / _MANIFEST).is_file() or (folder / BACKBONE).is_file() for folder in candidates(run))


def candidates(run: Path) -> list[Path]:
    """Folders that may hold a state, the newest first.

    The partial one is among them, since an interruption between two renamings leaves a whole state there.
    """
    partial = [run / PARTIAL] if (run / PARTIAL / _MANIFEST).is_file() else []
    return [*partial, *(folder for folder in (run / LAST, *earlier_states(run)) if folder.is_dir())]


def newest_state(run: Path, note: Callable[[str], None] | None = None) -> SavedState:
    """The newest state whose files are what they were when they were written.

    Args:
        run: the run folder.
        note: told of each damaged one that was passed over.

    Raises:
        ModelFileError: there is none.
    """
    damaged: list[str] = []
    for folder in candidates(run):
        fault = find_fault(folder)
        if fault is None:
            step = (read_manifest(folder) or {})["step"]
            for message in damaged:
                if note is not None:
                    note(f"{message}; going on from step {step} instead ({folder})")
            return SavedState(folder, step)
        damaged.append(fault)
    raise ModelFileError(
        "no saved state is whole" + (f" ({'; '.join(damaged)})" if damaged else ""),
        place=run,
        next_step="Begin again with --overwrite; the weights may serve as --init",
    )


def put_newer_aside(run: Path, state: SavedState) -> None:
    """Move what is newer than a state, and so is damaged, to where it does not count among those that are kept."""
    for folder in candidates(run):
        if folder == state.folder:
            return
        target = run / DAMAGED / folder.name.removeprefix(".")
        target.parent.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)


def find_fault(folder: Path) -> str | None:
    """What is wrong with a saved state, None if nothing."""
    manifest = read_manifest(folder)
    if manifest is None:
        return f"{folder / _MANIFEST} cannot be read"
    for name, digest in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            return f"{file} is missing"
        if file_sha256(file) != digest:
            return f"{file} is damaged"
    return None


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a state, None where there is none that can be read."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return manifest if isinstance(manifest["step"], int) and isinstance(manifest["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
