"""MobileFaceNet as TFace and AdaDistill save it."""

from __future__ import annotations

from pathlib import Path

from facedistill.checkpoint import BackboneSpec
from facedistill.models.published.layout import (
    PublishedLayout,
    Shapes,
    embedding_size,
    input_size_of_global_convolution,
)

FAMILY = "TFace's MobileFaceNet"
# Names of the stages with stride 2, each a bottleneck, and of the residual bottlenecks that follow it.
STAGES = (("conv_23", "conv_3", 4), ("conv_34", "conv_4", 6), ("conv_45", "conv_5", 2))


def recognise_tface_mobilefacenet(shapes: Shapes, place: Path) -> PublishedLayout | None:
    """The layout of a MobileFaceNet whose stages are `conv_23`, `conv_3`, ...; it has one depth only."""
    if not any(name.startswith("conv_23.conv_dw.") for name in shapes):
        return None
    affine = any(name in shapes for name in ("output_layer.bn.weight", "output_layer.bn.bias"))
    return PublishedLayout(
        family=FAMILY,
        spec=BackboneSpec("mobilefacenet", embedding_size(shapes, "output_layer.linear.weight")),
        input_size=input_size_of_global_convolution(shapes, "output_layer.conv_6_dw.conv.weight"),
        layers=name_layers(),
        absent=frozenset() if affine else frozenset(("norm.weight", "norm.bias")),
    )


def name_layers() -> dict[str, str]:
    """Our name of each layer -> TFace's."""
    blocks = []
    for shrinking, residual, repeats in STAGES:
        blocks += [shrinking, *(f"{residual}.model.{i}" for i in range(repeats))]
    layers: dict[str, str] = {}
    for block, theirs in enumerate(blocks):
        for index, convolution in enumerate(("conv", "conv_dw", "project")):
            layers |= name_convolution(f"blocks.{block}.layers.{index}", f"{theirs}.{convolution}")
    layers |= name_convolution("stem.0", "conv1") | name_convolution("stem.1", "conv2_dw")
    layers |= name_convolution("expand", "conv_6_sep") | name_convolution("pool", "output_layer.conv_6_dw")
    return layers | {"embed": "output_layer.linear", "norm": "output_layer.bn"}


def name_convolution(ours: str, theirs: str) -> dict[str, str]:
    """The layers of one convolution with its batch norm and its PReLU, where it has one."""
    return {f"{ours}.{i}": f"{theirs}.{name}" for i, name in enumerate(("conv", "bn", "prelu"))}
