"""The compact nets mbf and mbf-large as arcface_torch saves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facedistill.checkpoint import BackboneSpec
from facedistill.errors import ModelFileError
from facedistill.models.mbf import LARGE, SMALL
from facedistill.models.published.layout import (
    PublishedLayout,
    Shapes,
    count_numbered,
    embedding_size,
    input_size_of_global_convolution,
)

FAMILY = "arcface_torch's mbf"
# By the channels after the first layer and the repeats.
NAMES: dict[tuple[int, tuple[int, ...]], str] = {
    (64 * SMALL[0], SMALL[1]): "mbf",
    (64 * LARGE[0], LARGE[1]): "mbf-large",
}
STEM = ("layers.0.layers.0.weight", "layers.0.layers.1.weight")


def recognise_mbf(shapes: Shapes, place: Path) -> PublishedLayout | None:
    """The layout of an mbf or mbf-large, which end in `conv_sep` and `features`.

    Raises:
        ModelFileError: an mbf of another scale or depth.
    """
    if not any(name.startswith("conv_sep.layers.") for name in shapes):
        return None
    first_is_residual = any(name.startswith("layers.1.layers.0.layers.") for name in shapes)
    repeats = (
        count_numbered(shapes, "layers.1.layers.") if first_is_residual else 1,
        *(count_numbered(shapes, f"layers.{stage}.layers.") for stage in (3, 5, 7)),
    )
    # The stem's batch norm tells the width of the trunk even where the convolution before it is missing.
    trunk = next((shape[0] for name in STEM if (shape := shapes.get(name))), 0)
    name = NAMES.get((trunk, repeats))
    if name is None:
        raise ModelFileError(
            f"it is {FAMILY} with {trunk} channels after the first layer and {', '.join(map(str, repeats))} blocks, "
            "and that one is not known",
            place=place,
            next_step="Known are "
            + " and ".join(f"{n} ({c}; {', '.join(map(str, r))})" for (c, r), n in NAMES.items()),
        )
    return PublishedLayout(
        family=FAMILY,
        spec=BackboneSpec(name, embedding_size(shapes, "features.layers.2.weight")),
        input_size=input_size_of_global_convolution(shapes, "features.layers.0.layers.0.weight"),
        layers=name_layers(repeats),
    )


def name_layers(repeats: Sequence[int]) -> dict[str, str]:
    """Our name of each layer -> arcface_torch's."""
    layers = {f"stem.{i}": f"layers.0.layers.{i}" for i in range(3)}
    if repeats[0] == 1:
        layers |= {f"blocks.0.{i}": f"layers.1.layers.{i}" for i in range(3)}
        bottlenecks = []
    else:
        bottlenecks = [f"layers.1.layers.{i}" for i in range(repeats[0])]
    for stage, repeat in zip((2, 4, 6), repeats[1:], strict=True):
        bottlenecks += [f"layers.{stage}", *(f"layers.{stage + 1}.layers.{i}" for i in range(repeat))]
    for block, theirs in enumerate(bottlenecks, start=1 if repeats[0] == 1 else 0):
        # Expansion and depthwise convolution have a PReLU, the projection has none.
        for convolution, parts in enumerate((3, 3, 2)):
            layers |= {
                f"blocks.{block}.layers.{convolution}.{i}": f"{theirs}.layers.{convolution}.layers.{i}"
                for i in range(parts)
            }
    layers |= {f"expand.{i}": f"conv_sep.layers.{i}" for i in range(3)}
    layers |= {f"pool.{i}": f"features.layers.0.layers.{i}" for i in range(2)}
    return layers | {"embed": "features.layers.2", "norm": "features.layers.3"}
