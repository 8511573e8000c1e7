"""IResNet as arcface_torch and AdaDistill save it."""

from __future__ import annotations

from pathlib import Path

from facedistill.checkpoint import BackboneSpec
from facedistill.errors import ModelFileError
from facedistill.models.iresnet import DEPTHS, STAGE_CHANNELS
from facedistill.models.published.layout import (
    PublishedLayout,
    Shapes,
    count_numbered,
    embedding_size,
    input_size_of_flattened_map,
)

FAMILY = "arcface_torch's IResNet"
BLOCK = ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3")


def recognise_iresnet(shapes: Shapes, place: Path) -> PublishedLayout | None:
    """The layout of an IResNet of depth 18, 34, 50, 100 or 200, whose blocks have a PReLU and which ends in `fc`.

    Raises:
        ModelFileError: an IResNet of another depth.
    """
    # torchvision's ResNet uses the same names, but has no PReLU.
    if not any(name.startswith("layer1.0.prelu.") for name in shapes):
        return None
    depths = tuple(count_numbered(shapes, f"layer{stage}.") for stage in (1, 2, 3, 4))
    known = {blocks: name for name, blocks in DEPTHS.items()}
    if depths not in known:
        raise ModelFileError(
            f"it is {FAMILY} with {', '.join(map(str, depths))} blocks, and that depth is not known",
            place=place,
            next_step=f"Known are {', '.join(DEPTHS)}",
        )
    return PublishedLayout(
        family=FAMILY,
        spec=BackboneSpec(known[depths], embedding_size(shapes, "fc.weight")),
        input_size=input_size_of_flattened_map(shapes, "fc.weight", STAGE_CHANNELS[-1]),
        layers=name_layers(depths),
    )


def name_layers(depths: tuple[int, ...]) -> dict[str, str]:
    """Our name of each layer -> arcface_torch's."""
    layers = {"stem.0": "conv1", "stem.1": "bn1", "stem.2": "prelu"}
    block = 0
    for stage, depth in enumerate(depths, start=1):
        for index in range(depth):
            theirs = f"layer{stage}.{index}"
            layers |= {f"blocks.{block}.layers.{i}": f"{theirs}.{name}" for i, name in enumerate(BLOCK)}
            if index == 0:
                layers |= {f"blocks.{block}.shortcut.{i}": f"{theirs}.downsample.{i}" for i in (0, 1)}
            block += 1
    return layers | {"tail": "bn2", "embed": "fc", "norm": "features"}
