"""Write a pruned network as a run folder or as a checkpoint, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

import facedistill
from facedistill.checkpoint import Checkpoint, save_checkpoint
from facedistill.errors import DataError, UsageError
from facedistill.training.run_folder import CONFIG, is_run
from facedistill.training.saved import BACKBONE, LAST


def check_place(out: Path, model: Path, *, overwrite: bool) -> None:
    """Raise UsageError where the result may not be written to `out`; nothing is written yet.

    Args:
        out: a name that ends in .safetensors for a checkpoint; any other is a run folder.
        model: what is pruned.
        overwrite: whether an earlier result may be replaced.
    """
    if out.suffix == ".onnx":
        raise UsageError(
            "pruning writes a run folder or a .safetensors checkpoint",
            place=out,
            next_step="Export that to ONNX after it was trained on",
        )
    if not out.exists():
        return
    if out.resolve() == model.resolve() or out.resolve() in model.resolve().parents:
        raise UsageError("the result would replace the model that it is made of", place=out)
    is_checkpoint = out.suffix == ".safetensors"
    if is_checkpoint != out.is_file():
        there, wanted = ("folder", "file") if is_checkpoint else ("file", "folder")
        raise UsageError(f"there is a {there} already, and a {wanted} is to be written", place=out)
    if is_checkpoint or any(out.iterdir()):
        if not overwrite:
            raise UsageError("there is something already", place=out, next_step="Use --overwrite, or another name")
        if not is_checkpoint and not is_run(out):
            raise UsageError(
                "the folder to overwrite is not a run (it has no config.yaml of one), so it is left alone", place=out
            )


def write_pruned(out: Path, checkpoint: Checkpoint, asked: dict[str, Any]) -> Path:
    """Write the network; the file that holds its weights. What was there is replaced once all is written.

    Args:
        out: where; `check_place` has found it free.
        checkpoint: the pruned network.
        asked: the command's arguments, for `config.yaml`.

    Raises:
        DataError: it cannot be written.
    """
    try:
        if out.suffix == ".safetensors":
            save_checkpoint(out, checkpoint)
            return out
        _write_run(out.resolve(), checkpoint, asked)
        return out / LAST / BACKBONE
    except OSError as error:
        raise DataError(
            f"the pruned network cannot be written ({(error.strerror or str(error)).lower()})", place=out
        ) from error


def _write_run(out: Path, checkpoint: Checkpoint, asked: dict[str, Any]) -> None:
    """The folder is written beside its place and then moved there."""
    partial, replaced = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.replaced")
    config = {
        **asked,
        "run": {
            "facedistill": facedistill.__version__,
            "command": "prune",
            "backbone": checkpoint.spec.to_dict(),
            "preprocessing": checkpoint.preprocessing.to_dict(),
        },
    }
    shutil.rmtree(partial, ignore_errors=True)
    try:
        save_checkpoint(partial / LAST / BACKBONE, checkpoint)
        (partial / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        if out.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            out.rename(replaced)
        partial.rename(out)
    except BaseException:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)
