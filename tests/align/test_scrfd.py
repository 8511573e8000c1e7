"""SCRFD on made networks, against positions computed by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facedistill.align.detectors import DETECTORS, FaceDetector, Photo
from facedistill.align.detectors.scrfd import Scrfd
from facedistill.errors import ModelFileError, UsageError

from .made_networks import Head, paint, write_network

POINTS = np.array([(0, 0), (2, 0), (1, 1), (0.25, 2), (2, 2.5)])
FAR = POINTS + np.array((6, 0))
# Left, upper, right and lower reach from the cell's corner; the second anchor of the first stride stands to the right.
HEADS = [
    [Head(0.9, (4, 2, 4, 6), POINTS.ravel()), Head(0.8, (-6, 0, 9, 4), FAR.ravel())],
    [Head(0.7, (1, 1, 2, 2), POINTS.ravel()), Head(0.4, (1, 1, 2, 2), POINTS.ravel())],
    [Head(0.6, (1, 0, 2, 2), POINTS.ravel()), Head(0.2, (1, 1, 2, 2), POINTS.ravel())],
]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def make(heads: Any = HEADS, min_face: int | None = None, **options: Any) -> Scrfd:
        # The network gets (value - 127.5) / 128.
        path = write_network(tmp_path / "scrfd.onnx", heads, scale=128, offset=127.5, **options)
        return Scrfd(file=path, min_face=min_face, device="cpu")

    return make


def at(x: float, y: float, stride: float, points: np.ndarray = POINTS) -> np.ndarray:
    """Landmarks of a cell whose corner is x, y in pixels from the photo's corner."""
    return points * stride + (x - 0.5, y - 0.5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reverse": True},
        {"flat": True},
        {"flat": True, "reverse": True, "pictures": 1},
        {"pictures": 1},
        {"size": (128, 160)},
        {"size": (128, 160), "pictures": 1, "flat": True},
    ],
    ids=str,
)
def test_every_form_of_export(make: Any, options: dict[str, Any]) -> None:
    """Red, green and blue blocks, each the size of a cell, in photos of one size: nothing may change places."""
    detector = make(**options)
    photos = [
        Photo("red", paint((128, 160), (0, 40, 16, 8))),
        Photo("black", paint((128, 160))),
        Photo("green and blue", paint((128, 160), (1, 16, 32, 16), (2, 96, 64, 32))),
    ]
    red, black, both = detector.detect(photos)
    np.testing.assert_allclose(red.scores, [0.9, 0.8], atol=1e-5)
    np.testing.assert_allclose(red.boxes, [[8, 0, 72, 64], [88, 16, 112, 48]], atol=1e-4)
    np.testing.assert_allclose(red.landmarks, [at(40, 16, 8), at(40, 16, 8, FAR)], atol=1e-4)
    assert len(black) == 0
    np.testing.assert_allclose(both.scores, [0.7, 0.6], atol=1e-5)
    np.testing.assert_allclose(both.boxes, [[0, 16, 48, 64], [64, 64, 160, 128]], atol=1e-4)
    np.testing.assert_allclose(both.landmarks, [at(16, 32, 16), at(96, 64, 32)], atol=1e-4)
    assert red.boxes.dtype == red.scores.dtype == red.landmarks.dtype == np.float32


def test_one_anchor_a_cell(make: Any) -> None:
    detector = make([anchors[:1] for anchors in HEADS])
    (faces,) = detector.detect([Photo("p", paint((96, 160), (0, 48, 40, 8)))])
    np.testing.assert_allclose(faces.boxes, [[16, 24, 80, 88]], atol=1e-4)


def test_the_second_look_accepts_lower_scores(make: Any) -> None:
    heads = [[Head(0.4, (4, 2, 4, 6), POINTS.ravel())]] * 3
    photo = Photo("p", paint((96, 160), (0, 48, 40, 8)))
    assert [len(make(heads).detect([photo], lenient=lenient)[0]) for lenient in (False, True)] == [0, 1]


def test_a_large_photo_in_a_fixed_picture(make: Any) -> None:
    """192 x 96 stands shrunk to a third in the upper half of 64 x 64; the landmarks come back to the photo's pixels."""
    detector = make(size=(64, 64), pictures=1, flat=True)
    (faces,) = detector.detect([Photo("p", paint((96, 192), (0, 72, 48, 24)))])
    np.testing.assert_allclose(faces.boxes[0], [(24 - 32) * 3, 0, (24 + 32) * 3, (16 + 48) * 3], atol=1e-3)
    np.testing.assert_allclose(faces.landmarks[0], POINTS * 24 + (72 - 0.5, 48 - 0.5), atol=1e-3)


def test_min_face_shrinks_the_photo(make: Any) -> None:
    """At 128 a face of 64 pixels is enough, so a block of 16 pixels fills a cell of 8."""
    photo = Photo("p", paint((192, 320), (0, 80, 32, 16)))
    (faces,) = make(min_face=128).detect([photo])
    np.testing.assert_allclose(faces.boxes[0], [16, 0, 144, 128], atol=1e-3)
    np.testing.assert_allclose(faces.landmarks[0], POINTS * 16 + (79.5, 31.5), atol=1e-3)


def test_batches_are_used_only_where_the_network_keeps_pictures_apart(make: Any) -> None:
    assert make()._heads.batches
    assert not make(flat=True)._heads.batches
    assert not make(pictures=1)._heads.batches


@pytest.mark.parametrize("shape", [(1, 1), (5, 3000), (1, 20_000), (3000, 5)])
@pytest.mark.parametrize("size", [None, (64, 64)])
def test_degenerate_photos(make: Any, shape: tuple[int, int], size: tuple[int, int] | None) -> None:
    detector = make(size=size)
    for lenient in (False, True):
        assert len(detector.detect([Photo("p", np.full((*shape, 3), 128, np.uint8))], lenient=lenient)[0]) == 0


def test_the_registry_and_the_settings(make: Any, tmp_path: Path) -> None:
    detector = make()
    assert isinstance(detector, FaceDetector)
    digest = hashlib.sha256((tmp_path / "scrfd.onnx").read_bytes()).hexdigest()
    assert detector.settings == {"name": "scrfd", "min_face": None, "threshold": 0.5, "weights_sha256": digest}
    assert json.loads(json.dumps(detector.settings)) == detector.settings
    assert DETECTORS["scrfd"] is Scrfd


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"SCRFD needs its network.*--detector-file: a file with keypoints, such as"):
        Scrfd()
    with pytest.raises(UsageError, match="the smallest face is 7 pixels, SCRFD sees none below 8"):
        Scrfd(min_face=7, file=tmp_path / "x.onnx")
    with pytest.raises(ModelFileError, match=r"x\.onnx: there is no such file"):
        Scrfd(file=tmp_path / "x.onnx")
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(ModelFileError, match=r"x\.onnx: the ONNX file cannot be loaded.*\. Wanted is a file with key"):
        Scrfd(file=tmp_path / "x.onnx")
    with pytest.raises(UsageError, match="the device is 'gpu'"):
        Scrfd(file=tmp_path / "x.onnx", device="gpu")
    with pytest.raises(ModelFileError, match=r"this is a folder, not a file\. Wanted is a file with keypoints"):
        Scrfd(file=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keypoints": False}, r"gives boxes without keypoints.*scrfd_10g_bnkps\.onnx"),
        ({"second_score": 1.0}, r"is no SCRFD: it gives \(1, 128, 1\)"),
        ({"columns": (1, 4, 5)}, r"is no SCRFD: it gives \(1, 128, 1\)"),
        ({"size": (100, 100)}, r"takes pictures of 100 x 100, no multiples of 32"),
        ({"heads": [HEADS[0], HEADS[1], HEADS[2][:1]]}, r"gives .* for a picture of 64 x 64"),
    ],
    ids=str,
)
def test_a_network_that_is_another(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        make(**options)
