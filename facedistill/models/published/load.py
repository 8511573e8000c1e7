"""Open a file of published weights as a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from facedistill.checkpoint import Checkpoint
from facedistill.errors import ModelFileError, UsageError
from facedistill.files import file_sha256
from facedistill.models.published.adaface_ir import recognise_adaface_ir
from facedistill.models.published.arcface_iresnet import recognise_iresnet
from facedistill.models.published.arcface_mbf import recognise_mbf
from facedistill.models.published.layout import PublishedLayout, Recognise
from facedistill.models.published.state_dict import read_state_dict
from facedistill.models.published.tface_mobilefacenet import recognise_tface_mobilefacenet
from facedistill.models.registry import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.shown_name import shown_name

SUFFIXES = (".pth", ".pt", ".ckpt")
FAMILIES: tuple[Recognise, ...] = (
    recognise_iresnet,
    recognise_mbf,
    recognise_adaface_ir,
    recognise_tface_mobilefacenet,
)
# A batch norm's count of batches plays no part in embedding, and files of old torch versions lack it.
COUNTER = ".num_batches_tracked"
SHOWN = 8
"""Tensors of each kind that a message names."""


def load_published(
    path: Path,
    *,
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    note: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Read weights of arcface_torch (IResNet, mbf), AdaFace, AdaDistill or TFace (MobileFaceNet), on the CPU.

    The network and its depth are told by the names and shapes of the tensors, all of which have to fit.

    Args:
        path: a `.pth`, `.pt` or `.ckpt` file: a state dict, or a checkpoint that holds one.
        color: "rgb" or "bgr", which the files do not say.
        mean: mean of the input, 0..255 scale; 127.5 if not given, as all these networks have it.
        std: standard deviation of the input, 0..255 scale; 127.5 likewise.
        note: receives one line about each thing that was assumed or left out.

    Returns:
        A checkpoint in eval mode whose fingerprint is the file's SHA-256.

    Raises:
        UsageError: no colour order, or an unknown one.
        ModelFileError: the file is missing, damaged or not weights alone, it is of no known network, or its weights
            do not fit or are not finite.
    """
    if not path.is_file():
        raise ModelFileError("there is no such model file", place=path)
    if color is None:
        raise UsageError(
            "the file does not say in which colour order the network takes its images",
            place=path,
            next_step="Say rgb or bgr (--color; for a teacher --teacher-color, for --init --init-color): "
            "arcface_torch's and AdaDistill's weights take rgb, AdaFace's bgr; the wrong one gives no error but bad "
            "scores",
        )
    given = {name: value for name, value in (("mean", mean), ("std", std)) if value is not None}
    preprocessing = replace(Preprocessing(color=color), **given)  # type: ignore[arg-type]
    tensors = read_state_dict(path, note=note)
    layout = recognise(tensors, path)
    preprocessing = replace(preprocessing, size=layout.input_size)
    missing = [name for name in ("mean", "std") if name not in given]
    if missing and note:
        note(
            f"{path} says nothing of its preprocessing: assuming {preprocessing} ({', '.join(missing)} not given); "
            "a wrong guess lowers the accuracy without an error"
        )
    # The weights are all replaced, so that drawing random ones would only take time.
    with torch.device("meta"):
        backbone = build_backbone(
            layout.spec.name, embedding_size=layout.spec.embedding_size, input_size=layout.input_size
        )
    fill(backbone, tensors, layout, path)
    return Checkpoint(
        backbone=backbone.eval(),
        spec=layout.spec,
        preprocessing=preprocessing,
        provenance={"published": layout.family, "file": path.name},
        fingerprint=file_sha256(path),
    )


def recognise(tensors: dict[str, torch.Tensor], path: Path) -> PublishedLayout:
    """The layout of the file; ModelFileError where no family knows it."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    for family in FAMILIES:
        layout = family(shapes, path)
        if layout is not None:
            return layout
    raise ModelFileError(
        f"the weights are of no network that is known here (they are called {listed(list(tensors))})",
        place=path,
        next_step="Known are IResNet and mbf of arcface_torch, the IR networks of AdaFace and MobileFaceNet of TFace; "
        "export others to ONNX",
    )


def fill(backbone: nn.Module, tensors: dict[str, torch.Tensor], layout: PublishedLayout, path: Path) -> None:
    """Give a backbone on the meta device the published weights as float32.

    Raises:
        ModelFileError: tensors are missing, left over, of other shapes, no floating-point numbers, or not finite.
    """
    expected = {name: tensor for name, tensor in backbone.state_dict().items() if name not in layout.absent}
    names = {name: layout.published_name(name) for name in expected}
    missing = [theirs for theirs in names.values() if theirs not in tensors and not theirs.endswith(COUNTER)]
    known = set(names.values())
    left_over = [theirs for theirs in tensors if theirs not in known]
    misshapen = [
        f"{theirs} {list(tensors[theirs].shape)} for {list(expected[name].shape)}"
        for name, theirs in names.items()
        if theirs in tensors and tensors[theirs].shape != expected[name].shape
    ]
    faults = [
        f"{len(found)} {what}: {listed(found)}"
        for what, found in (("missing", missing), ("not expected", left_over), ("of another shape", misshapen))
        if found
    ]
    if faults:
        raise ModelFileError(
            f"the weights do not fit {layout.family}, which is '{layout.spec.name}' here; {'; '.join(faults)}",
            place=path,
            next_step="Is it a variant of that network, or a part of a file?",
        )
    state: dict[str, torch.Tensor] = {}
    for name, empty in backbone.state_dict().items():
        theirs = names.get(name)
        if theirs is not None and theirs in tensors:
            require_numbers(theirs, tensors[theirs], path)
            state[name] = torch.empty(empty.shape, dtype=empty.dtype).copy_(tensors[theirs].detach())
        else:
            # A batch norm without weights multiplies by 1 and adds 0; a missing count of batches starts at 0.
            state[name] = torch.full(empty.shape, 1 if name.endswith(".weight") else 0, dtype=empty.dtype)
    backbone.load_state_dict(state, assign=True)


def require_numbers(name: str, tensor: torch.Tensor, path: Path) -> None:
    """ModelFileError for weights that are not floating-point numbers (quantised, say), not finite, or not there."""
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
    # A few bytes can pretend to be a tensor of any size, by a stride of 0.
    if not plain or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise ModelFileError(f"the file holds fewer numbers than the shape of '{name}' says", place=path)
    if name.endswith(COUNTER):
        return
    if not tensor.is_floating_point():
        raise ModelFileError(f"the weights in '{name}' are {tensor.dtype}, not floating-point numbers", place=path)
    if not torch.isfinite(tensor).all():
        raise ModelFileError(f"the weights in '{name}' are not finite", place=path)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(shown_name(name) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
