"""Small networks in the files that `facedistill export` writes, and crops to compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedistill.data.images import read_image
from facedistill.embedders.onnx_embedder import OnnxEmbedder
from facedistill.preprocessing import Preprocessing
from facedistill.two_photos.decision import cosine_of_faces

THRESHOLDS = [
    {"benchmark": "ours", "far": 1e-3, "cosine": 0.5},
    {"benchmark": "ours", "far": 1e-2, "cosine": 0.25},
]
# Each would give another cosine if its colours, its axes or its mean were taken for another one's.
MODELS: dict[str, dict[str, Any]] = {
    "rgb": {"size": 32, "mean": 127.5, "std": 128.0},
    "bgr, channels last": {"size": 48, "mean": 100.0, "std": 64.0, "color": "bgr", "layout": "nhwc"},
    "pixels": {"size": 32, "mean": 90.0, "std": 50.0, "color": "bgr", "uint8": True},
}

MakeModel = Callable[..., Path]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and onnxruntime-web; skipped without them")


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Writes a network of random weights with its preprocessing and `THRESHOLDS` in the metadata.

    One with `uint8` takes (N, S, S, 3) pixels, and prepares them itself.
    """

    def make(name: str = "m", *, uint8: bool = False, thresholds: Any = THRESHOLDS, **values: Any) -> Path:
        wanted = Preprocessing(**values)
        random = np.random.default_rng(3)
        side = (wanted.size - 9) // 4 + 1
        weights = {
            # Of a mean above 0 and with a bias, so that a wrong mean or scale of the pixels shows.
            "kernel": random.normal(0.1, 1, (8, 3, 9, 9)),
            "bias": random.normal(0, 5, 8),
            "matrix": random.normal(0, 1, (8 * side * side, 16)),
            "mean": np.array(wanted.mean),
            "std": np.array(wanted.std),
        }
        nodes = []
        planes = "input"
        if uint8:
            nodes += [
                helper.make_node("Cast", ["input"], ["numbers"], to=TensorProto.FLOAT),
                helper.make_node("Sub", ["numbers", "mean"], ["centred"]),
                helper.make_node("Div", ["centred", "std"], ["scaled"]),
            ]
            planes = "scaled"
            if wanted.color == "bgr":
                weights["kernel"] = weights["kernel"][:, ::-1]
        if uint8 or wanted.layout == "nhwc":
            nodes.append(helper.make_node("Transpose", [planes], ["planes"], perm=[0, 3, 1, 2]))
            planes = "planes"
        nodes += [
            helper.make_node("Conv", [planes, "kernel", "bias"], ["maps"], strides=[4, 4]),
            helper.make_node("Relu", ["maps"], ["kept"]),
            helper.make_node("Flatten", ["kept"], ["row"]),
            helper.make_node("MatMul", ["row", "matrix"], ["embedding"]),
        ]
        square = [wanted.size, wanted.size]
        shape = [*square, 3] if uint8 or wanted.layout == "nhwc" else [3, *square]
        kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("input", kind, ["batch", *shape])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 16])],
            [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        facts = {"facedistill.preprocessing": json.dumps(wanted.to_dict())}
        if thresholds is not None:
            facts["facedistill.thresholds"] = json.dumps(thresholds)
        helper.set_model_props(model, facts)
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, path)
        return path

    return make


@pytest.fixture
def models(make_model: MakeModel) -> list[Path]:
    """One of each kind of `MODELS`."""
    return [make_model(str(number), **values) for number, values in enumerate(MODELS.values())]


@pytest.fixture
def expected(make_model: MakeModel) -> Callable[[dict[str, Any], list[Path]], float]:
    """The cosine that facedistill's own embedder finds between two crops."""

    def cosine(values: dict[str, Any], crops: list[Path]) -> float:
        plain = {key: value for key, value in values.items() if key != "uint8"}
        embedder = OnnxEmbedder(make_model("plain", **plain), device="cpu")
        return cosine_of_faces(embedder, *map(read_image, crops))

    return cosine


@pytest.fixture
def make_crops(tmp_path: Path) -> Callable[..., list[Path]]:
    """Writes two blotchy crops that are somewhat alike, neither of them symmetric."""

    def make(size: int, suffix: str) -> list[Path]:
        random = np.random.default_rng(1)
        shared = random.uniform(0, 255, (5, 5, 3))
        paths = []
        for number in range(2):
            blotches = 0.4 * shared + 0.6 * random.uniform(0, 255, (5, 5, 3))
            paths.append(tmp_path / f"crop{number}-{size}{suffix}")
            cv2.imwrite(str(paths[-1]), cv2.resize(blotches, (size, size)).round().astype(np.uint8))
        return paths

    return make
