"""All of it on a published MobileFaceNet, whose PReLUs are spelled out and whose batch norms are folded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.export.graph import (
    channels_last_input,
    check_graph,
    convert_opset,
    fold_batch_norms,
    free_batch_axis,
    fuse_prelus,
    normalise_output,
    read_network,
    take_pixels,
)
from facedistill.export.graph.trial import embed, largest_difference, open_network
from facedistill.preprocessing import Preprocessing

from .made_networks import operators

pytestmark = pytest.mark.realdata
CROPS = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_embeddings_stay(layout: str, realdata: Path) -> None:
    preprocessing = Preprocessing(std=128.0, layout=layout)  # type: ignore[arg-type]
    model = read_network(realdata / "models" / f"mobilefacenet_192_{layout}.onnx")
    before = embed(open_network(model), preprocessing.to_numpy(CROPS))
    assert free_batch_axis(model) is False
    assert fold_batch_norms(model) == 0
    assert fuse_prelus(model) == 33
    assert operators(model).keys() - {"Transpose"} == {"Conv", "PRelu", "Add", "Reshape"}
    assert largest_difference(embed(open_network(model), preprocessing.to_numpy(CROPS)), before) < 1e-5
    model = convert_opset(model, 18)
    normalise_output(model)
    take_pixels(model, preprocessing)
    check_graph(model)
    units = embed(open_network(model), CROPS)
    assert largest_difference(units, before) < 1e-5
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, atol=1e-5)


def test_the_layout_can_be_turned(realdata: Path) -> None:
    turned, twin = (read_network(realdata / "models" / f"mobilefacenet_192_{each}.onnx") for each in ("nchw", "nhwc"))
    channels_last_input(turned)
    images = Preprocessing(std=128.0, layout="nhwc").to_numpy(CROPS)
    assert largest_difference(*(embed(open_network(model), images) for model in (turned, twin))) < 1e-5


def test_an_old_operator_set(realdata: Path) -> None:
    model = read_network(realdata / "models" / "mobilefacenet_192_nchw.onnx")
    fuse_prelus(model)
    assert convert_opset(model, 11).ir_version == 6  # which compares the embeddings
