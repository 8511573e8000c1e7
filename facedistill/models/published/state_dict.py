"""Read the tensors of a .pth, .pt or .ckpt file without running the code that a pickle can bring."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from facedistill.errors import ModelFileError
from facedistill.shown_name import shown_name

# Where training scripts put the weights beside other things: Lightning, arcface_torch's checkpoints, and others.
WRAPPERS = ("state_dict", "state_dict_backbone", "backbone", "model")
NESTED = 4
"""How deep they are looked for; an entry of a hostile file may be the file itself."""
# What DistributedDataParallel, torch.compile and training classes put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
HEAD = "head."
"""What stands before the names of the classification head in AdaFace's Lightning checkpoints."""


class _Bookkeeping:
    """Stands for Lightning's ModelCheckpoint, under whose class Lightning files what it remembers; it does nothing."""


# Checkpoints of old Lightning versions name this one class. With our own empty class in its place they are read, and
# no more is trusted than before.
HARMLESS = [
    (_Bookkeeping, f"{package}.callbacks.model_checkpoint.ModelCheckpoint")
    for package in ("pytorch_lightning", "lightning.pytorch")
]


def read_state_dict(path: Path, *, note: Callable[[str], None] | None = None) -> dict[str, torch.Tensor]:
    """The backbone's tensors by the names of the code that made them, without wrappers, prefixes and head.

    Args:
        path: a file written by torch.save.
        note: receives one line where a classification head was left out.

    Raises:
        ModelFileError: the file is missing or damaged, needs more than torch.load's `weights_only` allows, or holds no
            state dict.
    """
    tensors = unwrap(load_weights_only(path), path)
    left_out = 0
    while True:
        body = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD)}
        if body:
            left_out += len(tensors) - len(body)
            tensors = body
        prefix = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if left_out and note:
        note(f"{path}: its classification head ({left_out} tensors) is left out; the backbone alone is used")
    return tensors


def load_weights_only(path: Path) -> Any:
    """What torch.load gives for the file with `weights_only`, on the CPU."""
    if not path.is_file():
        raise ModelFileError("there is no such model file", place=path)
    try:
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():  # type: ignore[arg-type]
            warnings.filterwarnings("ignore", message=".*looks like a TorchScript archive")  # the error says it better
            # Mapped, so that a head of a million classes and an optimizer's state are never read into memory.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        if "TorchScript" in str(error):
            raise ModelFileError(
                "the file is a TorchScript program, and not weights alone", place=path, next_step="Export it to ONNX"
            ) from error
        refused = (
            re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        )
        if refused:
            raise ModelFileError(
                f"the file holds more than weights (it needs {shown_name(refused[1])}); it is not opened, "
                "since unpickling Python objects runs code that the file brings",
                place=path,
                next_step="Where you trust it, save the weights alone: "
                "torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW) for a checkpoint, "
                "torch.save(model.state_dict(), NEW) for a whole model; or export it to ONNX",
            ) from error
        raise ModelFileError(
            f"the file cannot be read ({reason(error)})", place=path, next_step="It may be truncated; copy it again"
        ) from error


def reason(error: Exception) -> str:
    """The first sentence of what torch says, without its advice to trust the file."""
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {shown_name(first)}" if first else type(error).__name__


def unwrap(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in what a file holds: the whole of it, or one entry of a training script's checkpoint."""
    for _ in range(NESTED):
        if not isinstance(content, Mapping):
            raise ModelFileError(f"the file holds a {type(content).__name__}, not the weights of a network", place=path)
        if content and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items()):
            return dict(content)
        wrapper = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if wrapper is None:
            break
        content = content[wrapper]
    names = ", ".join(shown_name(str(key)) for key in list(content)[:8])
    raise ModelFileError(
        f"the file holds no weights of a network ({f'its entries are {names}' if names else 'it is empty'})",
        place=path,
        next_step="Save the state dict alone: torch.save(model.state_dict(), NEW)",
    )
