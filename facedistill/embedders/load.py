"""Open any model file: a run folder, a checkpoint, published weights or an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from facedistill.checkpoint import Checkpoint, load_checkpoint
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.onnx_embedder import OnnxEmbedder
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import ModelFileError, UsageError
from facedistill.launcher import launched
from facedistill.models.published.load import SUFFIXES, load_published

WHAT_TO_NAME = (
    f"Name a run folder, a .safetensors checkpoint, published weights ({', '.join(SUFFIXES)}) or an .onnx file"
)


def find_checkpoint(path: Path) -> Path:
    """The model file meant by `path`: a file itself, or the last checkpoint of a run folder.

    Raises:
        ModelFileError: there is none.
    """
    if not path.exists():
        raise ModelFileError("there is no such model", place=path, next_step=WHAT_TO_NAME)
    return last_checkpoint(path) if path.is_dir() else path


def last_checkpoint(run: Path) -> Path:
    """The last checkpoint of a run folder; ModelFileError where there is none.

    The last and not the best: the best epoch was chosen by the benchmark that was followed, which would make its
    figures there too good. Who wants it names `best.safetensors`.
    """
    # Between two renamings of a save that was interrupted, the earlier ones are all there are.
    for folder in (run / "last", *sorted((run / "earlier").glob("step-*"), reverse=True)):
        if (folder / "backbone.safetensors").is_file():
            return folder / "backbone.safetensors"
    raise ModelFileError(
        "the folder holds no checkpoint (last/backbone.safetensors)", place=run, next_step=WHAT_TO_NAME
    )


def choose_device(device: str) -> torch.device:
    """The torch device meant by auto, cpu or cuda; UsageError for another word, or for CUDA where there is none."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"the device is '{device}'", next_step="Use auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here", next_step="Use --device cpu, or see facedistill doctor")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # Of several processes of a run on this machine, each has a GPU of its own.
    place = launched()
    return torch.device("cuda", place.rank_here) if device == "cuda" and place.ranks > 1 else torch.device(device)


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
        path: a run folder, a `.safetensors` checkpoint, published weights (`.pth`, `.pt`, `.ckpt`) or an `.onnx` file.
        device: "auto", "cpu" or "cuda".
        color: colour order of published weights, which need it, or of a foreign ONNX file.
        mean: mean of published weights or a foreign ONNX file, 0..255 scale.
        std: standard deviation of published weights or a foreign ONNX file, 0..255 scale.
        note: receives one line about each thing that was assumed.

    Raises:
        ModelFileError: no such model, or one that cannot be loaded.
        UsageError: an unknown device, published weights without a colour order, or a preprocessing given for a
            checkpoint, which carries its own.
    """
    target = choose_device(device)
    file = find_checkpoint(path)
    if file.suffix == ".onnx":
        return OnnxEmbedder(file, device=target.type, color=color, mean=mean, std=std, note=note)
    checkpoint = load_model_checkpoint(file, color=color, mean=mean, std=std, note=note)
    return TorchEmbedder.from_checkpoint(checkpoint, name=str(path), device=target)


def load_model_checkpoint(
    path: Path,
    *,
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    note: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Open the model at `path` where its weights are wanted, to train them on or to export them.

    Args:
        path: a run folder, a `.safetensors` checkpoint or published weights (`.pth`, `.pt`, `.ckpt`).
        color: colour order of published weights, which need it.
        mean: mean of published weights, 0..255 scale.
        std: standard deviation of published weights, 0..255 scale.
        note: receives one line about each thing that was assumed or left out.

    Raises:
        ModelFileError: no such model, or one that cannot be loaded.
        UsageError: an ONNX file, published weights without a colour order, or a preprocessing given for a checkpoint,
            which carries its own.
    """
    file = find_checkpoint(path)
    if file.suffix == ".onnx":
        raise UsageError(
            "an ONNX file is for embedding only; its weights cannot be taken from it",
            place=file,
            next_step=f"Name a run folder, a .safetensors checkpoint or published weights ({', '.join(SUFFIXES)})",
        )
    if file.suffix in SUFFIXES:
        return load_published(file, color=color, mean=mean, std=std, note=note)
    if file.suffix != ".safetensors":
        raise ModelFileError(f"no model file ends in '{file.suffix}'", place=file, next_step=WHAT_TO_NAME)
    if (color, mean, std) != (None, None, None):
        raise UsageError(
            "the checkpoint carries its own preprocessing; --color, --mean and --std are for published weights and "
            "foreign ONNX files",
            place=file,
            next_step="Leave them out",
        )
    return load_checkpoint(file)
