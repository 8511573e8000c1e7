from __future__ import annotations

import numpy as np
import pytest
import torch

from facedistill.errors import ModelFileError, PreprocessingMismatchError, UsageError
from facedistill.preprocessing import Preprocessing


def test_values_by_hand() -> None:
    image = np.array([[[[0, 127, 255]]]], dtype=np.uint8)
    output = Preprocessing(size=1, mean=127.5, std=128).to_numpy(image)
    assert output.shape == (1, 3, 1, 1)
    assert output.ravel().tolist() == pytest.approx([-127.5 / 128, -0.5 / 128, 127.5 / 128])
    bgr = Preprocessing(size=1, color="bgr", layout="nhwc").to_numpy(image)
    assert bgr.shape == (1, 1, 1, 3)
    assert bgr.ravel().tolist() == pytest.approx([1.0, -0.5 / 127.5, -1.0])


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_torch_and_numpy_agree(color: str) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    preprocessing = Preprocessing(size=16, color=color, mean=100, std=50)  # type: ignore[arg-type]
    tensor = preprocessing.to_tensor(torch.from_numpy(crops))
    assert np.allclose(tensor.numpy(), preprocessing.to_numpy(crops), atol=1e-6)


def test_resizing_is_the_same_for_both_and_is_required() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    preprocessing = Preprocessing(size=20)
    resized = preprocessing.resize(crops)
    assert resized.shape == (2, 20, 20, 3)
    # Area averaging by a factor of two is the mean of each 2 x 2 block.
    blocks = crops.reshape(2, 20, 2, 20, 2, 3).astype(float).mean(axis=(2, 4))
    assert np.abs(resized - blocks).max() <= 1
    assert preprocessing.to_numpy(crops).shape == (2, 3, 20, 20)
    with pytest.raises(PreprocessingMismatchError, match="takes 20 x 20 pixels and the crops have 40 x 40"):
        preprocessing.to_tensor(torch.from_numpy(crops))


def test_round_trip_and_damage() -> None:
    preprocessing = Preprocessing(size=96, color="bgr", mean=1, std=2, layout="nhwc")
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    with pytest.raises(ModelFileError, match=r"model\.onnx: its preprocessing cannot be read"):
        Preprocessing.from_dict({"size": 112}, place="model.onnx")


@pytest.mark.parametrize(
    ("values", "message"),
    [({"std": 0}, "std is 0"), ({"color": "rbg"}, "colour order is 'rbg'"), ({"size": 0}, "input size is 0"),
     ({"layout": "chw"}, "layout is 'chw'"), ({"std": float("nan")}, "std is nan"),
     ({"std": float("inf")}, "std is inf"), ({"std": 1e-320}, "std is 1e-320, it must be above 0 and finite"),
     ({"std": 1e300}, "std is 1e"),
     ({"mean": float("nan")}, "mean is nan, it must be a finite"), ({"mean": float("-inf")}, "mean is -inf")],
)  # fmt: skip
def test_values_out_of_range_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Preprocessing(**values)  # type: ignore[arg-type]
