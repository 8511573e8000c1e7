"""YuNet on made networks, against positions computed by hand and against OpenCV's own class."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facedistill.align.detectors import DETECTORS, FaceDetector, Photo
from facedistill.align.detectors.yunet import YuNet
from facedistill.errors import ModelFileError, UsageError

from .made_networks import Head, paint, write_network

POINTS = np.array([(0, 0), (2, 0), (1, 1), (0.25, 2), (2, 2.5)])
# The middle in cells from the cell's corner, then the logarithms of width and height in cells.
HEADS = [
    [Head(1.0, (0.5, 1.5, np.log(4), np.log(6)), POINTS.ravel())],
    [Head(1.0, (0.25, 0.5, np.log(3), np.log(2)), POINTS.ravel() + 0.5)],
    [Head(0.5, (1, 0.5, np.log(2), np.log(2)), POINTS.ravel())],
]
PHOTO = paint((90, 150), (0, 40, 16, 8), (1, 96, 48, 16))


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def make(heads: Any = HEADS, **options: Any) -> YuNet:
        path = write_network(tmp_path / "yunet.onnx", heads, blue_first=True, **{"second_score": 0.81, **options})
        return YuNet(file=path, device="cpu")

    return make


@pytest.mark.parametrize(
    "options",
    [{}, {"pictures": 1}, {"size": (96, 160), "pictures": 1}, {"reverse": True}],
    ids=str,
)
def test_every_form_of_export(make: Any, options: dict[str, Any]) -> None:
    """Scores are the root of 1 x 0.81; red fires the finest stride, so blue before red is what the network gets."""
    faces, none = make(**options).detect([Photo("p", PHOTO), Photo("black", paint((90, 150)))])
    np.testing.assert_allclose(faces.scores, [0.9, 0.9], atol=1e-6)
    order = np.argsort(faces.boxes[:, 0])
    expected = [(44 - 16, 28 - 24, 44 + 16, 28 + 24), (100 - 24, 56 - 16, 100 + 24, 56 + 16)]
    np.testing.assert_allclose(faces.boxes[order], expected, atol=1e-4)
    np.testing.assert_allclose(faces.landmarks[order][0], POINTS * 8 + (39.5, 15.5), atol=1e-4)
    np.testing.assert_allclose(faces.landmarks[order][1], (POINTS + 0.5) * 16 + (95.5, 47.5), atol=1e-4)
    assert len(none) == 0


def test_against_the_class_of_opencv(make: Any, tmp_path: Path) -> None:
    """It measures from the corner of the first pixel. This network OpenCV 5.0.0 computes right, unlike MTCNN's."""
    detector = make(pictures=1)
    (faces,) = detector.detect([Photo("p", PHOTO)])
    oracle = cv2.FaceDetectorYN.create(str(tmp_path / "yunet.onnx"), "", (150, 90), 0.6, 0.3)
    _, theirs = oracle.detect(np.ascontiguousarray(PHOTO[..., ::-1]))
    mine = faces[np.argsort(faces.boxes[:, 0])]
    theirs = theirs[np.argsort(theirs[:, 0])]
    np.testing.assert_allclose(mine.boxes[:, :2], theirs[:, :2], atol=1e-3)
    np.testing.assert_allclose(mine.boxes[:, 2:] - mine.boxes[:, :2], theirs[:, 2:4], atol=1e-3)
    np.testing.assert_allclose(mine.landmarks.reshape(-1, 10) + 0.5, theirs[:, 4:14], atol=1e-3)
    np.testing.assert_allclose(mine.scores, theirs[:, 14], atol=1e-5)


def test_the_second_look_accepts_lower_scores(make: Any) -> None:
    photo = Photo("p", paint((96, 160), (2, 64, 32, 32)))
    # The root of 0.5 x 0.5 is 0.5.
    detector = make(second_score=0.5)
    assert [len(detector.detect([photo], lenient=lenient)[0]) for lenient in (False, True)] == [0, 1]


def test_scores_above_one_count_as_one(make: Any) -> None:
    (faces,) = make(second_score=1.7).detect([Photo("p", PHOTO)])
    np.testing.assert_allclose(faces.scores, [1, 1])


def test_a_large_photo_in_a_fixed_picture(make: Any) -> None:
    detector = make(size=(64, 64), pictures=1)
    (faces,) = detector.detect([Photo("p", paint((96, 192), (0, 72, 48, 24)))])
    np.testing.assert_allclose(faces.boxes, [[84 - 48, 84 - 72, 84 + 48, 84 + 72]], atol=1e-3)
    np.testing.assert_allclose(faces.landmarks, [POINTS * 24 + (71.5, 47.5)], atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3000), (1, 20_000), (3000, 5)])
def test_degenerate_photos(make: Any, shape: tuple[int, int]) -> None:
    for size in (None, (64, 64)):
        photo = Photo("p", np.full((*shape, 3), 128, np.uint8))
        assert len(make(size=size).detect([photo], lenient=True)[0]) == 0


def test_a_box_beyond_all_numbers_is_no_face(make: Any) -> None:
    heads = [[Head(1.0, (0, 0, 400, 400), POINTS.ravel())]] * 3
    assert len(make(heads).detect([Photo("p", PHOTO)])[0]) == 0


def test_the_registry_and_the_settings(make: Any, tmp_path: Path) -> None:
    detector = make()
    assert isinstance(detector, FaceDetector)
    digest = hashlib.sha256((tmp_path / "yunet.onnx").read_bytes()).hexdigest()
    assert detector.settings == {"name": "yunet", "min_face": None, "threshold": 0.6, "weights_sha256": digest}
    assert json.loads(json.dumps(detector.settings)) == detector.settings
    assert DETECTORS["yunet"] is YuNet


def test_wrong_calls_and_files(make: Any) -> None:
    with pytest.raises(
        UsageError, match=r"YuNet needs its network.*--detector-file: face_detection_yunet_2023mar\.onnx"
    ):
        YuNet()
    with pytest.raises(UsageError, match="the smallest face is 9 pixels, YuNet sees none below 10"):
        YuNet(min_face=9)
    with pytest.raises(ModelFileError, match=r"is no YuNet: it gives .*Wanted is face_detection_yunet_2023mar"):
        make(second_score=None)
