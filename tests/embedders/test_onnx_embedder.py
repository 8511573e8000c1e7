from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedistill.embedders.load import load_embedder
from facedistill.embedders.onnx_embedder import PREPROCESSING_KEY, OnnxEmbedder
from facedistill.errors import ModelFileError, UsageError
from facedistill.preprocessing import Preprocessing


def write_mean_network(path: Path, shape: list[int | str], *, preprocessing: str | None = None) -> Path:
    """A network whose embedding is the mean of each channel of its input."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    node = helper.make_node("ReduceMean", ["images", "axes"], ["embedding"], keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [shape[0], 3])],
        [numpy_helper.from_array(np.array(axes, dtype=np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if preprocessing is not None:
        helper.set_model_props(model, {PREPROCESSING_KEY: preprocessing})
    onnx.save(model, path)
    return path


CROPS = np.zeros((5, 8, 8, 3), dtype=np.uint8)
CROPS[..., 0], CROPS[..., 2] = 255, 51


@pytest.mark.parametrize("shape", [["n", 3, 8, 8], ["n", 8, 8, 3], [2, 3, 8, 8], [1, 8, 8, 3]])
def test_layouts_and_fixed_batches(shape: list[int | str], tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_mean_network(tmp_path / "m.onnx", shape), device="cpu", mean=0, std=255)
    assert embedder.preprocessing.layout == ("nchw" if shape[1] == 3 else "nhwc")
    assert embedder.embedding_size == 3
    assert np.allclose(embedder.embed(CROPS), [[1, 0, 0.2]] * 5)
    bgr = OnnxEmbedder(tmp_path / "m.onnx", device="cpu", mean=0, std=255, color="bgr")
    assert np.allclose(bgr.embed(CROPS), [[0.2, 0, 1]] * 5)


def test_what_is_assumed_is_said_once(tmp_path: Path) -> None:
    notes: list[str] = []
    path = write_mean_network(tmp_path / "m.onnx", ["n", 3, 8, 8])
    OnnxEmbedder(path, device="cpu", std=128, note=notes.append)
    assert len(notes) == 1
    assert "assuming 8x8 RGB, (x - 127.5) / 128 (color, mean not given)" in notes[0]
    OnnxEmbedder(path, device="cpu", color="rgb", mean=1, std=128, note=notes.append)
    assert len(notes) == 1


def test_metadata_wins_unless_it_is_overridden(tmp_path: Path) -> None:
    stated = '{"size": 8, "color": "bgr", "mean": 0, "std": 255, "layout": "nchw"}'
    path = write_mean_network(tmp_path / "m.onnx", ["n", 3, 8, 8], preprocessing=stated)
    notes: list[str] = []
    embedder = OnnxEmbedder(path, device="cpu", note=notes.append)
    assert embedder.preprocessing == Preprocessing(8, "bgr", 0, 255)
    assert notes == []
    overridden = OnnxEmbedder(path, device="cpu", color="rgb", note=notes.append)
    assert overridden.preprocessing.color == "rgb"
    assert "you asked for" in notes[0]


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ("{", "preprocessing metadata is not JSON"),
        ('{"size": 8}', "preprocessing cannot be read"),
        ('{"size": 9, "color": "bgr", "mean": 0, "std": 255, "layout": "nchw"}', "metadata says nchw 9"),
    ],
)
def test_damaged_metadata(preprocessing: str, message: str, tmp_path: Path) -> None:
    path = write_mean_network(tmp_path / "m.onnx", ["n", 3, 8, 8], preprocessing=preprocessing)
    with pytest.raises(ModelFileError, match=message):
        OnnxEmbedder(path, device="cpu")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (["n", 4, 8, 8], "has no axis of 3 colours"),
        (["n", 3, 8, 10], "takes 10 x 8 images, not square crops"),
        (["n", 3, 8], "not one batch of images"),
    ],
)
def test_what_is_no_face_network(shape: list[int | str], message: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "d"])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match=message):
        OnnxEmbedder(tmp_path / "m.onnx", device="cpu")


def test_files_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    (tmp_path / "weights.h5").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, message in [
        ("none.onnx", "no such model"),
        ("broken.onnx", "ONNX file cannot be loaded"),
        ("weights.h5", r"no model file ends in '\.h5'.* published weights \(\.pth, \.pt, \.ckpt\)"),
        ("empty", "the folder holds no checkpoint"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            load_embedder(tmp_path / name, device="cpu")


def test_an_unknown_device_or_colour(tmp_path: Path) -> None:
    path = write_mean_network(tmp_path / "m.onnx", ["n", 3, 8, 8])
    with pytest.raises(UsageError, match="the device is 'tpu'"):
        load_embedder(path, device="tpu")
    with pytest.raises(UsageError, match="colour order is 'grb'"):
        load_embedder(path, device="cpu", color="grb")
