from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from facedistill.evaluation.all_pairs import all_pairs
from facedistill.evaluation.hubs import Hubs, find_hubs, hub_pairs, hub_warning, norm_warning
from facedistill.evaluation.ranked_pairs import RankedPairs, rank_pairs

LABELS = np.repeat(np.arange(150), 2)


def made_faces(seed: int = 0) -> Any:
    """300 photos of 150 people."""
    rng = np.random.default_rng(seed)
    faces = rng.normal(size=(150, 32))[LABELS] + 0.8 * rng.normal(size=(300, 32))
    return faces / np.linalg.norm(faces, axis=1, keepdims=True)


def with_caps(faces: Any, photos: list[int]) -> Any:
    """These photos show a cap more than a face."""
    faces = faces.copy()
    faces[photos] = faces[photos] + 4 * np.eye(32)[0]
    return faces / np.linalg.norm(faces, axis=1, keepdims=True)


def pairs_of(first: list[int], second: list[int]) -> RankedPairs:
    made = np.array(first, dtype=np.int32), np.array(second, dtype=np.int32)
    return RankedPairs(made[0][:0], *made, np.linspace(1, 0, len(first), dtype=np.float32), np.zeros(len(first)))


def test_a_few_photos_that_are_near_to_many_people_are_named() -> None:
    hubs = list(range(0, 300, 15))  # everybody another person
    keys = [f"person/{index}.jpg" for index in range(300)]
    faces = with_caps(made_faces(), hubs)
    (warning,) = all_pairs(faces, LABELS, name="made", fars=(1e-2,), keys=keys).warnings
    assert "of the 200 most similar pairs of different people (person/" in warning
    ranked = rank_pairs(faces, LABELS, 500)
    found = find_hubs(ranked, 44_700)
    assert found is not None
    assert set(found.photos) <= set(hubs)
    assert len(found.photos) * 25 <= 200
    covered = np.isin(ranked.first[:200], found.photos) | np.isin(ranked.second[:200], found.photos)
    assert found.covered == np.count_nonzero(covered) >= 100


@pytest.mark.parametrize("seed", range(5))
def test_people_who_are_told_apart_have_none(seed: int) -> None:
    assert all_pairs(made_faces(seed), LABELS, name="made", fars=(1e-2,)).warnings == ()


def test_how_many_photos_make_up_half_of_the_pairs() -> None:
    """One photo is in 101 of 200 pairs, or in 99, where the second busiest is needed too."""
    for own, expected in ((101, [0]), (99, [0, 1])):
        first = [0] * own + [1] * 60 + list(range(400, 400 + 140 - own))
        found = find_hubs(pairs_of(first, [1000 + place for place in range(200)]), 1_000_000)
        assert found is not None
        assert (found.photos.tolist(), found.pairs, found.covered) == (expected, 200, own + 60 * (len(expected) - 1))
    scattered = pairs_of(list(range(200)), list(range(200, 400)))
    assert find_hubs(scattered, 1_000_000) is None
    assert find_hubs(pairs_of([0] * 200, list(range(1, 201))), 19_999) is None, "a FAR above 1e-2 tells nothing"
    assert find_hubs(pairs_of([0] * 199, list(range(1, 200))), 1_000_000) is None


def test_pairs_that_are_looked_at() -> None:
    assert [hub_pairs(impostor) for impostor in (100, 6_848_158, 10**9)] == [200, 684, 1000]


def test_names_are_few_and_printable() -> None:
    photos = np.arange(7)
    keys = ["a\x1b.jpg", *"bcdefg"]
    assert hub_warning(Hubs(photos, 200, 120), keys)[0].startswith(
        r"hubs: 7 photos are in 120 of the 200 most similar pairs of different people (a\x1b.jpg, b, c, d, e, ...); "
    )
    assert hub_warning(Hubs(photos[:1], 200, 120), None)[0].startswith("hubs: 1 photo is in 120 of the 200 most")
    assert hub_warning(None, keys) == []


def test_norms_that_are_no_models() -> None:
    norms = np.array([1.0, 1.1, 0.9, 1.0, 33.0, 5.0, 0.1])
    assert norm_warning(norms, list("abcdefg")) == [
        "2 of 7 photos have an embedding longer by far than the usual, up to 33 times its norm (e, f)",
        "1 of 7 photos has an embedding shorter by far than the usual, up to 0.1 of its norm (g)",
    ]
    assert norm_warning(norms[:4], None) == []
