"""Made-up faces: repeatable, different people, landmarks where they are drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facedistill.align.similarity import estimate_similarity, transform_points, warp
from facedistill.align.template import template
from facedistill.data.dataset import FaceDataset
from facedistill.data.made_up.identity import FaceIdentity, sample_identity
from facedistill.data.made_up.nuisance import Nuisance, sample_nuisance
from facedistill.data.made_up.render import render_face, render_photo
from facedistill.data.synthetic import SyntheticFaces, write_folder, write_photos


def people(count: int) -> list[FaceIdentity]:
    return [sample_identity(np.random.default_rng(person)) for person in range(count)]


def patch_mean(image: npt.NDArray[np.uint8], point: npt.ArrayLike, radius: int) -> float:
    x, y = np.rint(np.asarray(point)).astype(int)
    return float(image[y - radius : y + radius + 1, x - radius : x + radius + 1].mean())


def residual(landmarks: npt.ArrayLike, size: int = 112) -> npt.NDArray[np.float64]:
    """(5, 2): how far the landmarks lie from the template under their own best fit."""
    moved = transform_points(estimate_similarity(landmarks, template(size)), landmarks)
    return np.asarray(moved - template(size))


def test_it_is_a_face_dataset() -> None:
    faces = SyntheticFaces(3, 2, size=64, first_identity=10)
    assert isinstance(faces, FaceDataset)
    assert len(faces) == 6
    assert faces.labels.dtype == np.int64
    assert faces.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert faces.identities == ["person_000010", "person_000011", "person_000012"]
    assert [faces.key(index) for index in (0, 3, 5)] == [
        "person_000010/0000",
        "person_000011/0001",
        "person_000012/0001",
    ]
    assert faces.image(4).shape == (64, 64, 3)
    assert faces.image(4).dtype == np.uint8
    assert faces.landmarks(4).shape == (5, 2)
    assert faces.landmarks(4).dtype == np.float32


def test_pixels_depend_on_neither_order_nor_count() -> None:
    one_way = SyntheticFaces(4, 3, seed=5, size=64)
    images = [one_way.image(index) for index in range(len(one_way))]
    other_way = SyntheticFaces(4, 3, seed=5, size=64)
    for index in reversed(range(len(other_way))):
        np.testing.assert_array_equal(other_way.image(index), images[index])
    # Person 2's second picture in a world that starts at person 2 and holds more pictures of each.
    part = SyntheticFaces(1, 9, seed=5, size=64, first_identity=2)
    np.testing.assert_array_equal(part.image(1), images[2 * 3 + 1])


def test_disjoint_ranges_are_other_people() -> None:
    first, second = SyntheticFaces(20, 1), SyntheticFaces(20, 1, first_identity=20)
    looks = [faces.parameters(index)[0] for faces in (first, second) for index in range(20)]
    assert len(set(looks)) == 40
    assert SyntheticFaces(1, 1, seed=1).parameters(0)[0] not in looks


def test_every_picture_has_its_own_circumstances() -> None:
    faces = SyntheticFaces(2, 5)
    assert len({faces.parameters(index)[1] for index in range(10)}) == 10
    assert len({faces.parameters(index)[0] for index in range(10)}) == 2


def test_fingerprint_follows_every_parameter() -> None:
    base = {"identities": 4, "images_per_identity": 3, "seed": 0, "size": 64, "first_identity": 0, "difficulty": 1.0}
    changed = [base | {name: value + 1} for name, value in base.items()]
    prints = [SyntheticFaces(**options).fingerprint for options in (base, *changed)]  # type: ignore[arg-type]
    assert len(set(prints)) == 7
    assert SyntheticFaces(4, 3, size=64).fingerprint == prints[0]
    assert all(len(digest) == 64 for digest in prints)


def test_the_average_face_fits_the_template() -> None:
    landmarks = render_face(FaceIdentity(), Nuisance()).landmarks
    # One pixel of 112: the average face is symmetric, the published template is not quite.
    assert np.abs(landmarks - template(112)).max() < 1.0


@pytest.mark.parametrize("size", [56, 112, 224])
def test_crops_are_the_least_squares_fit(size: int) -> None:
    for identity in people(6):
        landmarks = render_face(identity, Nuisance(), size).landmarks
        # A best fit cannot be improved: fitting once more changes nothing.
        again = estimate_similarity(landmarks, template(size))
        np.testing.assert_allclose(again, [[1, 0, 0], [0, 1, 0]], atol=1e-4)
        assert np.abs(landmarks - template(size)).max() < 0.07 * size


def test_jitter_moves_the_crop_as_it_says() -> None:
    still = render_face(FaceIdentity(), Nuisance()).landmarks
    moved = render_face(FaceIdentity(), Nuisance(shift_x=0.05, shift_y=-0.02, zoom=1.1, tilt=90.0)).landmarks
    x, y = (1.1 * (still - 56)).T
    np.testing.assert_allclose(moved, np.stack([-y + 56 + 5.6, x + 56 - 2.24], axis=1), atol=1e-3)


def test_pupils_and_mouth_lie_at_the_landmarks() -> None:
    for identity in people(6):
        # No hair may hang before eyes or lips here.
        bare = replace(identity, fringe=0.0, beard=0.0, moustache=0.0)
        face = render_face(bare, Nuisance(), 224)
        for x, y in face.landmarks[:2]:
            pupil = patch_mean(face.image, (x, y), 1)
            cheek = patch_mean(face.image, (x, y + 30), 2)
            assert pupil < 60
            assert pupil < 0.6 * cheek
        # The seam of the lips runs from corner to corner, a little below them in the middle: lipstick makes it plain.
        left, right = face.landmarks[3:]
        painted = render_face(bare, Nuisance(lipstick=1.0), 224).image.astype(int)
        redder = np.argwhere(np.abs(painted - face.image).max(axis=2) > 12)[:, ::-1]
        assert redder[:, 0].min() == pytest.approx(left[0], abs=4)
        assert redder[:, 0].max() == pytest.approx(right[0], abs=4)
        assert redder[:, 1].min() < left[1] < redder[:, 1].max()


def test_gaze_moves_the_pupil_and_not_the_landmark() -> None:
    ahead, aside = (render_face(FaceIdentity(), Nuisance(gaze_x=gaze), 224) for gaze in (0.0, 1.0))
    np.testing.assert_array_equal(ahead.landmarks, aside.landmarks)
    eye = ahead.landmarks[0]
    moved = eye + np.array([0.1 * (ahead.landmarks[1, 0] - eye[0]), 0.0])
    assert patch_mean(aside.image, moved, 1) < 60
    assert patch_mean(ahead.image, moved, 1) > 60


def test_turning_the_head_is_parallax_and_no_plain_shift() -> None:
    """The nose tip stands out of the face, so it moves further than the eyes towards the side of the turn."""
    ahead, turned = (render_photo(FaceIdentity(), Nuisance(yaw=yaw)).landmarks for yaw in (0.0, 20.0))
    eyes = (turned - ahead)[:2, 0]
    nose = (turned - ahead)[2, 0]
    assert nose > eyes.max() + 3
    distance = [float(points[1, 0] - points[0, 0]) for points in (ahead, turned)]
    assert distance[1] < 0.97 * distance[0]


def test_photo_aligned_by_its_landmarks_is_the_crop() -> None:
    for seed, identity in enumerate(people(5)):
        pose = sample_nuisance(np.random.default_rng(seed), 1.0)
        # The camera's faults differ between photo and crop, and so does the background.
        clean = Nuisance(yaw=pose.yaw, pitch=pose.pitch, roll=pose.roll, smile=pose.smile, photo_scale=0.1)
        photo, crop = render_photo(identity, clean, 400), render_face(identity, clean)
        matrix = estimate_similarity(photo.landmarks, template(112))
        np.testing.assert_allclose(transform_points(matrix, photo.landmarks), crop.landmarks, atol=1e-3)
        aligned = warp(photo.image, matrix, 112)
        middle = np.s_[20:92, 25:87]
        difference = np.abs(aligned[middle].astype(int) - crop.image[middle]).mean()
        assert difference < 5


def test_photo_landmarks_fit_the_template_and_lie_inside() -> None:
    faces = SyntheticFaces(10, 2, seed=2)
    for index in range(len(faces)):
        photo = faces.photo(index)
        assert photo.image.shape == (250, 250, 3)
        assert photo.landmarks.min() > 10
        assert photo.landmarks.max() < 240
        # A face turned by 35 degrees is no similarity of the frontal template any more.
        assert np.sqrt((residual(photo.landmarks) ** 2).mean()) < 6


def test_one_person_is_more_alike_than_two() -> None:
    faces = SyntheticFaces(12, 3, difficulty=0.2)
    small = [cv2.resize(faces.image(index), (28, 28), interpolation=cv2.INTER_AREA) for index in range(len(faces))]
    pixels = np.stack(small).reshape(len(faces), -1).astype(float)
    pixels -= pixels.mean(axis=1, keepdims=True)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    alike = pixels @ pixels.T
    pairs = np.array(list(combinations(range(len(faces)), 2)))
    same = faces.labels[pairs[:, 0]] == faces.labels[pairs[:, 1]]
    values = alike[pairs[:, 0], pairs[:, 1]]
    assert values[same].mean() > values[~same].mean() + 0.1


def test_difficulty_widens_the_circumstances() -> None:
    assert sample_nuisance(np.random.default_rng(0), 0.0) == Nuisance()

    def spread_of_yaw(difficulty: float) -> float:
        return float(np.std([sample_nuisance(np.random.default_rng(s), difficulty).yaw for s in range(200)]))

    assert spread_of_yaw(1.0) == pytest.approx(2 * spread_of_yaw(0.5), rel=0.1)


@pytest.mark.parametrize(
    "occluder", [Nuisance(glasses=True), Nuisance(cap=True), Nuisance(mask=True), Nuisance(hand=True)]
)
def test_occluders_change_the_face(occluder: Nuisance) -> None:
    plain, occluded = (render_face(FaceIdentity(), nuisance).image for nuisance in (Nuisance(), occluder))
    assert (np.abs(plain.astype(int) - occluded).max(axis=2) > 20).mean() > 0.02


def test_nothing_shines_through_a_hand() -> None:
    covered = Nuisance(hand=True, patch_x=0.0, patch_y=0.0)
    face = render_face(FaceIdentity(), covered, 224)
    left_eye = face.landmarks[0].astype(int)
    around = face.image[left_eye[1] - 8 : left_eye[1] + 9, left_eye[0] - 8 : left_eye[0] + 9]
    # Eye white and glint are light grey, skin is not.
    assert (around[..., 0].astype(int) - around[..., 2]).min() > 20


def test_write_folder_keeps_the_colours(tmp_path: Path) -> None:
    faces = SyntheticFaces(2, 2, size=48)
    paths = write_folder(faces, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [f"{faces.key(i)}.png" for i in range(4)]
    for index, path in enumerate(paths):
        blue_first = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert blue_first is not None
        np.testing.assert_array_equal(blue_first[..., ::-1], faces.image(index))


def test_write_photos_returns_the_truth(tmp_path: Path) -> None:
    faces = SyntheticFaces(1, 2)
    landmarks = write_photos(faces, tmp_path, size=160)
    assert landmarks.shape == (2, 5, 2)
    np.testing.assert_array_equal(landmarks[1], faces.photo(1, 160).landmarks)
    image = cv2.imread(str(tmp_path / "person_000000" / "0001.png"))
    assert image is not None
    np.testing.assert_array_equal(image[..., ::-1], faces.photo(1, 160).image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"identities": 0}, "identities is 0, but must be at least 1"),
        ({"images_per_identity": -2}, "images_per_identity is -2, but must be at least 1"),
        ({"size": 31}, "size is 31, but must be at least 32"),
        ({"difficulty": -0.5}, "difficulty is -0.5, but must be at least 0"),
        ({"difficulty": float("nan")}, "difficulty is nan"),
        ({"seed": -1}, "seed is -1, but must be at least 0"),
        ({"first_identity": -1}, "first_identity is -1, but must be at least 0"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticFaces(**({"identities": 2, "images_per_identity": 2} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_out_of_range_is_named(index: int) -> None:
    faces = SyntheticFaces(2, 2)
    for method in (faces.image, faces.landmarks, faces.key, faces.photo):
        with pytest.raises(IndexError, match=rf"image {index} of 4: the index must be 0 to 3"):
            method(index)


def test_the_renderer_refuses_what_it_cannot_draw() -> None:
    for render in (render_face, render_photo):
        with pytest.raises(ValueError, match="size is 16, but a face needs at least 32 pixels a side"):
            render(FaceIdentity(), Nuisance(), 16)
    with pytest.raises(ValueError, match="difficulty is -1"):
        sample_nuisance(np.random.default_rng(0), -1)


def test_several_processes_write_the_same_folder(tmp_path: Path) -> None:
    dataset = SyntheticFaces(13, 8, size=32)
    told: list[tuple[int, int]] = []
    write_folder(dataset, tmp_path / "one")
    write_folder(dataset, tmp_path / "two", workers=2, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (104, 104)
    for key in (dataset.key(index) for index in range(0, 104, 9)):
        assert (tmp_path / "one" / f"{key}.png").read_bytes() == (tmp_path / "two" / f"{key}.png").read_bytes()
