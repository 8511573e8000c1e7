from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facedistill.data.folder import FolderDataset
from facedistill.data.open_dataset import open_dataset
from facedistill.errors import DataError
from facedistill.evaluation import all_pairs as module
from facedistill.evaluation.all_pairs import all_pairs, evaluate_all_pairs
from facedistill.evaluation.metrics import squared_distances, tar_at_far


@pytest.mark.parametrize("cells", [1, 100, 1000, 1 << 23])
def test_it_is_the_figure_of_the_written_out_pairs(
    noisy_pairs: Callable[..., Any], cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of a single row, of several, and one for all, with the kept impostors pruned often and never."""
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", cells)
    embeddings = noisy_pairs(0, people=30, noise=0.6)[0]
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(30), 4))
    order = np.argsort(labels, kind="stable")
    shuffled = np.empty_like(embeddings)
    shuffled[order] = embeddings
    pairs = np.array(list(itertools.combinations(range(120), 2)))
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    distances = squared_distances(shuffled, pairs)
    result = all_pairs(shuffled, labels, name="made", fars=(1e-1, 1e-2, 1e-3, 1e-4))
    assert (result.images, result.identities) == (120, 30)
    assert (result.genuine, result.impostor) == (30 * 6, 120 * 119 // 2 - 30 * 6)
    for label, point in result.operating_points.items():
        expected = tar_at_far(distances, same, float(label))
        if expected is None:
            assert point is None
            continue
        assert point is not None
        assert point.tar == expected.tar
        assert point.far == expected.far
        assert point.threshold == pytest.approx(expected.threshold, abs=1e-5)
        shares = [np.mean(distances[same & (labels[pairs[:, 0]] == p)] < expected.threshold) for p in range(30)]
        assert result.person_tars[label] == pytest.approx(np.mean(shares))
    assert result.person_tars["1e-4"] is None
    assert result.unresolvable == {"1e-4": "needs 10,000 impostor pairs"}
    tars = [tar for tar in result.tar_at_far.values() if tar is not None]
    assert 1.0 > tars[0] > tars[1] > tars[2] > 0.0, "the figures could not tell a fault"


def test_impostors_that_are_all_alike() -> None:
    """With two people as two points, every impostor pair has one cosine, and none may be accepted."""
    embeddings = np.repeat(np.eye(2), 20, axis=0)
    result = all_pairs(embeddings, np.repeat([0, 1], 20), name="made", fars=(1e-1,))
    point = result.operating_points["1e-1"]
    assert point is not None
    assert (point.tar, point.far) == (1.0, 0.0)
    assert result.to_dict()["thresholds"]["1e-1"] == {"squared_l2": pytest.approx(2.0), "cosine": pytest.approx(0.0)}


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5], [0]])
def test_labels_that_make_no_pairs_of_a_kind(labels: list[int]) -> None:
    with pytest.raises(DataError, match=r"made: its . images of . people make . genuine and . impostor pairs"):
        all_pairs(np.eye(4)[: len(labels)], np.array(labels), name="made")


def test_a_folder_of_photos(photos: Path, color_embedder: type[Any]) -> None:
    embedder = color_embedder(size=4)
    result = evaluate_all_pairs(embedder, FolderDataset(photos), name="photos", fars=(1e-1, 1e-2))
    assert (result.images, result.genuine, result.impostor) == (16, 24, 96)
    assert result.tar_at_far == {"1e-1": 1.0, "1e-2": None}
    assert embedder.images == 32
    assert "crops of 8x8 are resized to 4x4" in result.notes[0]
    assert result.to_dict()["fingerprint"] == FolderDataset(photos).fingerprint


@pytest.mark.realdata
def test_the_pairs_of_the_test_people(realdata: Path) -> None:
    """Counts of the whole of View 1's test photos, with made-up embeddings in place of a model's."""
    from facedistill.data.identity_list import read_identities

    lfw = realdata / "data" / "lfw"
    dataset = open_dataset(lfw / "raw", identities=read_identities(lfw / "protocol" / "peopleDevTest.txt"))
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(dataset.identities), 32))
    embeddings = centres[dataset.labels] + 0.1 * rng.normal(size=(len(dataset), 32))
    result = all_pairs(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), dataset.labels, name="test")
    assert (result.images, result.identities) == (3708, 1711)
    assert (result.genuine, result.impostor) == (24_620, 6_848_158)
    assert result.tar_at_far["1e-5"] == 1.0
