"""Open any model file as an embedder: a run folder, a checkpoint or an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from facedistill.checkpoint import load_checkpoint
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.onnx_embedder import OnnxEmbedder
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import ModelFileError, UsageError


def find_checkpoint(path: Path) -> Path:
    """The checkpoint meant by `path`: a file itself, or the last one of a run folder.

    The last and not the best: the best epoch was chosen by the benchmark that was followed, which would make its
    figures there too good. Who wants it names `best.safetensors`.

    Raises:
        ModelFileError: there is none.
    """
    if not path.exists():
        raise ModelFileError("there is no such model", place=path)
    if not path.is_dir():
        return path
    last = path / "last" / "backbone.safetensors"
    if last.is_file():
        return last
    raise ModelFileError(
        "the folder holds no checkpoint (last/backbone.safetensors)",
        place=path,
        next_step="Name a run folder, a .safetensors checkpoint or an .onnx file",
    )


def choose_device(device: str) -> torch.device:
    """The torch device meant by auto, cpu or cuda; UsageError for another word, or for CUDA where there is none."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"the device is '{device}'", next_step="Use auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here", next_step="Use --device cpu, or see facedistill doctor")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def load_embedder(
    path: Path,
    *,
    device: str = "auto",
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    note: Callable[[str], None] | None = None,
) -> Embedder:
    """Open the model at `path`.

    Args:
        path: a run folder, a `.safetensors` checkpoint or an `.onnx` file.
        device: "auto", "cpu" or "cuda".
        color: colour order of a foreign ONNX file.
        mean: mean of a foreign ONNX file, 0..255 scale.
        std: standard deviation of a foreign ONNX file, 0..255 scale.
        note: receives one line about each thing that was assumed.

    Raises:
        ModelFileError: no such model, or one that cannot be loaded.
        UsageError: an unknown device, or a preprocessing given for a checkpoint, which carries its own.
    """
    target = choose_device(device)
    file = find_checkpoint(path)
    if file.suffix == ".onnx":
        return OnnxEmbedder(file, device=target.type, color=color, mean=mean, std=std, note=note)
    if file.suffix != ".safetensors":
        raise ModelFileError(
            f"a model file ends in .safetensors or .onnx, not '{file.suffix}'",
            place=file,
            next_step="Pickled weights are not opened, since loading them runs code; export them to ONNX",
        )
    if (color, mean, std) != (None, None, None):
        raise UsageError(
            "the checkpoint carries its own preprocessing; --color, --mean and --std are for foreign ONNX files",
            place=file,
        )
    return TorchEmbedder.from_checkpoint(load_checkpoint(file), name=str(path), device=target)
