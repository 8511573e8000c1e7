from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from facedistill.evaluation.identification import search as module
from facedistill.evaluation.identification.search import NOBODY, Searches, search_gallery


def one_by_one(probes: Any, probe_people: Any, gallery: Any, gallery_people: Any) -> list[tuple[Any, ...]]:
    """Mated or not, the mate's cosine, its place, and the best of the others, for each probe by the definition."""
    result = []
    for probe, person in zip(probes, probe_people, strict=True):
        mates, others = [], []
        for entry, owner in zip(gallery, gallery_people, strict=True):
            cosine = np.float32(np.dot(probe.astype(np.float64), entry.astype(np.float64)))
            (mates if owner == person and person != NOBODY else others).append(cosine)
        mate = max(mates, default=-np.inf)
        place = 1 + sum(other >= mate for other in others) if mates else 0
        result.append((bool(mates), mate, place, max(others, default=-np.inf)))
    return result


def listed(found: Searches) -> list[tuple[Any, ...]]:
    return list(zip(found.mated.tolist(), found.mate.tolist(), found.rank.tolist(), found.other.tolist(), strict=True))


@pytest.mark.parametrize(("probes_at_once", "entries_at_once"), [(1, 1), (7, 5), (1 << 10, 1 << 12)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_direct_count(
    dtype: Any, probes_at_once: int, entries_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People with none, one and several entries, distractors, and so few directions that many cosines are equal."""
    monkeypatch.setattr(module, "_PROBES_AT_ONCE", probes_at_once)
    monkeypatch.setattr(module, "_ENTRIES_AT_ONCE", entries_at_once)
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(12, 6))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(dtype)
    probes, gallery = directions[rng.integers(0, 12, 40)], directions[rng.integers(0, 12, 60)]
    probe_people, gallery_people = rng.integers(0, 30, 40), rng.integers(NOBODY, 20, 60)
    probe_people[0] = NOBODY
    found = search_gallery(probes, probe_people, gallery, gallery_people)
    expected = one_by_one(probes, probe_people, gallery, gallery_people)
    assert listed(found) == expected
    assert 0 < found.mated.sum() < 40
    assert len(set(found.rank.tolist())) > 5, "the ranks could not tell a fault"


def test_a_model_that_finds_everybody_alike_ranks_last() -> None:
    alike = np.full((50, 512), 1 / np.sqrt(512), dtype=np.float32)
    found = search_gallery(alike[:10], np.arange(10), alike, np.arange(50))
    assert found.rank.tolist() == [50] * 10


def test_a_gallery_of_mates_alone() -> None:
    found = search_gallery(np.eye(2), np.array([4, 4]), np.eye(2)[:1], np.array([4]))
    assert listed(found) == [(True, 1.0, 1, -np.inf), (True, 0.0, 1, -np.inf)]
