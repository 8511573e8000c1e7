"""The IR networks as AdaFace (and TFace, from which they come) saves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facedistill.checkpoint import BackboneSpec
from facedistill.errors import ModelFileError
from facedistill.models.adaface_ir import DEPTHS
from facedistill.models.iresnet import STAGE_CHANNELS
from facedistill.models.published.layout import (
    PublishedLayout,
    Shapes,
    count_numbered,
    embedding_size,
    input_size_of_flattened_map,
)

FAMILY = "AdaFace's IR network"


def recognise_adaface_ir(shapes: Shapes, place: Path) -> PublishedLayout | None:
    """The layout of an IR network of depth 18, 34, 50 or 101, which has an `input_layer` and a `body` of `res_layer`s.

    Raises:
        ModelFileError: an IR network of another depth.
    """
    if not any(name.startswith("body.0.res_layer.") for name in shapes):
        return None
    units = count_numbered(shapes, "body.")
    known = {sum(depths): name for name, depths in DEPTHS.items()}
    if units not in known:
        raise ModelFileError(
            f"it is {FAMILY} of {units} units, and that depth is not known",
            place=place,
            next_step=f"Known are {', '.join(f'{name} ({number})' for number, name in known.items())}",
        )
    return PublishedLayout(
        family=FAMILY,
        spec=BackboneSpec(known[units], embedding_size(shapes, "output_layer.3.weight")),
        input_size=input_size_of_flattened_map(shapes, "output_layer.3.weight", STAGE_CHANNELS[-1]),
        layers=name_layers(DEPTHS[known[units]]),
    )


def name_layers(depths: Sequence[int]) -> dict[str, str]:
    """Our name of each layer -> AdaFace's."""
    layers = {f"stem.{i}": f"input_layer.{i}" for i in range(3)}
    for unit in range(sum(depths)):
        layers |= {f"blocks.{unit}.layers.{i}": f"body.{unit}.res_layer.{i}" for i in range(6)}
        layers |= {f"blocks.{unit}.shortcut.{i}": f"body.{unit}.shortcut_layer.{i}" for i in range(2)}
    # Dropout and flattening, 1 and 2, have no tensors.
    return layers | {"tail": "output_layer.0", "embed": "output_layer.3", "norm": "output_layer.4"}
