from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.inspection.centres import unit
from facedistill.inspection.label_noise import LabelNoise, find_label_noise

PEOPLE = tuple(f"p{number:02d}" for number in range(30))


class Faces(NamedTuple):
    embeddings: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def judge(self, identities: tuple[str, ...] = PEOPLE) -> LabelNoise:
        names = tuple(f"{index:03d}" for index in range(len(self.labels)))
        found = find_label_noise(self.embeddings, self.labels, names, identities, model="made")
        assert found is not None
        return found


@pytest.fixture
def axes() -> Faces:
    """Person k has three images, each the unit vector along axis k: cosines are 0 or 1."""
    labels = np.repeat(np.arange(30), 3)
    return Faces(np.eye(40, dtype=np.float32)[labels], labels)


def test_right_labels(axes: Faces) -> None:
    found = axes.judge()
    assert (found.judged, found.wrong, found.split, found.pairs, found.more_pairs) == (90, (), (), (), 0)
    assert found.model == "made"


def test_an_image_of_somebody_else(axes: Faces) -> None:
    axes.embeddings[2] = axes.embeddings[20]  # of p06, filed under p00
    (wrong,) = axes.judge().wrong
    assert (wrong.name, wrong.identity, wrong.looks_like) == ("002", "p00", "p06")
    assert (wrong.cosine, wrong.other_cosine) == (0, 1)


def test_an_image_of_nobody_here(axes: Faces) -> None:
    axes.embeddings[5] = np.eye(40)[35]
    (wrong,) = axes.judge().wrong
    assert (wrong.name, wrong.identity, wrong.looks_like, wrong.other_cosine) == ("005", "p01", None, 0)


def test_the_image_itself_does_not_pull_its_centre(axes: Faces) -> None:
    """Of p00's images one is cos 60 degrees off: 0.5 to the others; with itself it would be 0.866 to the centre."""
    axes.embeddings[0] = 0.5 * axes.embeddings[1] + np.sqrt(0.75) * np.eye(40)[35]
    rng = np.random.default_rng(0)
    # Others are noisy in the free axes, so that 0.5 is less than what one impostor in a hundred reaches.
    axes.embeddings[3:, 30:35] += rng.normal(0, 1.2, (87, 5))
    found = Faces(unit(axes.embeddings), axes.labels).judge()
    assert found.stranger > 0.5
    assert {image.name: image.cosine for image in found.wrong}["000"] == pytest.approx(0.5, abs=1e-6)


def test_a_wrong_image_does_not_drag_a_right_one_along(axes: Faces) -> None:
    """p00's first image has cosines of 0.5 to two others and 0 to a wrong one: 1 / sqrt 5 to all three, then 0.5."""
    embeddings, labels = (
        np.concatenate([axes.embeddings, np.eye(40, dtype=np.float32)[36:37]]),
        np.append(axes.labels, 0),
    )
    embeddings[0] = 0.5 * embeddings[1] + np.sqrt(0.75) * np.eye(40)[35]
    embeddings[3:90, 30:35] += np.random.default_rng(0).normal(0, 0.63, (87, 5))
    found = Faces(unit(embeddings), labels).judge()
    assert 1 / np.sqrt(5) < found.stranger < 0.5
    assert [image.name for image in found.wrong if image.identity == "p00"] == ["090"]


def test_one_image_alone_is_not_judged(axes: Faces) -> None:
    labels = axes.labels.copy()
    labels[0] = 30
    found = Faces(axes.embeddings, labels).judge((*PEOPLE, "alone"))
    assert found.judged == 87  # p00 has two, and "alone" one
    assert found.wrong == ()
    assert [(pair.first, pair.second) for pair in found.pairs] == [("p00", "alone")]


def test_of_two_images_the_one_that_is_known(axes: Faces) -> None:
    embeddings, labels = np.delete(axes.embeddings, [2, 5], axis=0), np.delete(axes.labels, [2, 5])
    embeddings[1] = np.eye(40)[20]  # p00's second image is p20's face
    embeddings[2] = np.eye(40)[35]  # p01's first image is nobody's
    found = Faces(embeddings, labels).judge()
    assert [(image.name, image.looks_like) for image in found.wrong] == [("001", "p20")]
    assert found.split == ("p01",)


def test_one_person_under_two_names(axes: Faces) -> None:
    """The smaller identity is second, whatever the order of the labels; images are those that are most alike."""
    labels = np.append(axes.labels, [30, 30, 30, 30])
    same = np.repeat(np.eye(40, dtype=np.float32)[4:5], 4, axis=0)
    same[:3, 36] = 0.5
    found = Faces(np.concatenate([axes.embeddings, unit(same)]), labels).judge((*PEOPLE, "twin"))
    (pair,) = found.pairs
    centre = unit(unit(same).sum(axis=0, keepdims=True))[0]
    assert (pair.first, pair.second) == ("twin", "p04")
    assert pair.cosine == pytest.approx(float(centre[4]), abs=1e-6)
    assert (pair.first_image, pair.second_image) == ("093", "012")


def test_a_wrong_image_makes_no_pair_of_identities(axes: Faces) -> None:
    """One of p00's three images is p06's: the centres would be alike, were the stranger not left out."""
    rng = np.random.default_rng(0)
    embeddings = unit(axes.embeddings + rng.normal(0, 0.01, axes.embeddings.shape).astype(np.float32))
    embeddings[2] = embeddings[20]
    found = Faces(embeddings, axes.labels).judge()
    assert [image.name for image in found.wrong] == ["002"]
    assert found.pairs == ()


def test_images_of_nobody_are_left_out(axes: Faces) -> None:
    labels = axes.labels.copy()
    labels[[0, 50]] = -1
    found = Faces(axes.embeddings, labels).judge()
    assert (found.judged, found.wrong) == (84, ())


def test_too_few_people() -> None:
    embeddings = np.eye(19, dtype=np.float32)
    assert find_label_noise(embeddings, np.arange(19), ("n",) * 19, ("i",) * 19, model="m") is None


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_errors_are_found(seed: int) -> None:
    """300 people whose images have a cosine of 0.6 in the mean, strangers 0: 40 images move, 10 people are halved."""
    rng = np.random.default_rng(seed)
    people = unit(rng.normal(size=(300, 128)).astype(np.float32))
    labels = np.repeat(np.arange(300), 6)
    embeddings = unit(people[labels] + 0.8 * unit(rng.normal(size=(1800, 128)).astype(np.float32)))
    moved = rng.permutation(1200)[:40]
    labels[moved] = (labels[moved] + 7) % 300
    for person in range(290, 300):
        labels[np.flatnonzero(labels == person)[3:]] = person + 10
    identities = tuple(map(str, range(310)))
    found = Faces(embeddings, labels).judge(identities)
    # One stranger in a hundred is let pass, by the choice of the threshold.
    assert {int(image.name) for image in found.wrong} <= set(moved.tolist())
    assert len(found.wrong) >= 38
    right = [image.looks_like == str((int(image.identity) - 7) % 300) for image in found.wrong]
    assert all(right)
    pairs = {(pair.first, pair.second) for pair in found.pairs}
    assert pairs >= {(str(person), str(person + 10)) for person in range(290, 300)}
    assert len(pairs) <= 11  # a stranger that was let pass can make its two identities alike
