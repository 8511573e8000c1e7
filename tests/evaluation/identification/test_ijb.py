from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facedistill.errors import DataError
from facedistill.evaluation.identification import ijb as module
from facedistill.evaluation.identification.ijb import IjbOptions, evaluate_ijb, judge_ijb
from facedistill.evaluation.identification.ijb_folder import read_ijb


def published_1n(read: Any, embeddings: Any, rank: int) -> float:
    """insightface's 1:N protocol: both galleries as one, the share of probes whose person is among the first."""
    features = embeddings * read.detector_scores[:, None]

    def template(tid: int) -> Any:
        of_template, media = features[read.templates == tid], read.media[read.templates == tid]
        total = sum(of_template[media == mid].mean(axis=0) for mid in np.unique(media))
        return total / np.linalg.norm(total)

    entries = [pair for each in read.galleries.values() for pair in zip(each.templates, each.subjects, strict=True)]
    gallery = np.array([template(tid) for tid, _ in entries])
    hits = []
    for tid, subject in zip(read.probes.templates, read.probes.subjects, strict=True):
        order = np.argsort(-(gallery @ template(tid)))
        hits.append(subject in [entries[place][1] for place in order[:rank]])
    return float(np.mean(hits))


def test_a_model_on_a_made_folder(ijb: Path, color_embedder: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody has a colour of their own, so the figures are perfect; 42 images are embedded twice each."""
    monkeypatch.setattr(module, "_IMAGES_AT_ONCE", 16)
    embedder = color_embedder(size=24)
    seen: list[tuple[int, int]] = []
    result = evaluate_ijb(
        embedder, ijb, fars=(1e-1, 1e-2), fpirs=(0.25, 0.1), ranks=(1, 2), batch_size=10,
        progress=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert embedder.images == 84
    assert [done for done, _ in seen] == [10, 16, 26, 32, 42]
    assert {of for _, of in seen} == {42}
    assert (result.name, result.images, result.templates) == ("IJB-C", 42, 18)
    assert (result.pairs.genuine, result.pairs.impostor) == (12, 60)
    assert result.pairs.tar_at_far == {"1e-1": 1.0, "1e-2": None}
    assert result.unresolvable == {"1e-2": "needs 100 impostor pairs"}
    found = result.identification
    assert found is not None
    assert [(each.name, each.entries, each.mated, each.non_mated) for each in found.galleries] == [
        ("G1", 3, 6, 6),
        ("G2", 3, 6, 6),
    ], "the people of one gallery are strangers in the other"
    assert found.rank_rates == {1: 1.0, 2: 1.0}
    assert found.tpir_at_fpir == {"2.5e-1": 1.0, "1e-1": None}
    assert found.joined is not None
    assert (found.joined.name, found.joined.mated, found.joined.non_mated) == ("G1+G2", 12, 0)
    spelled = result.to_dict()
    assert (spelled["flip"], spelled["keep_norm"], spelled["detector_score"]) == (True, True, True)
    assert sorted(spelled["files"]) == sorted(path.name for path in (ijb / "meta").iterdir())
    assert result.table()[1][0][:3] == ["IJB-C", "12", "60"]
    assert result.notes == (
        "templates: original and mirrored embeddings summed, their norm kept, weighed by the detector score",
    )


def test_without_flip_each_image_is_embedded_once(ijb: Path, color_embedder: type[Any]) -> None:
    embedder = color_embedder(size=24)
    result = evaluate_ijb(embedder, ijb, options=IjbOptions(flip=False, keep_norm=False, detector_score=False))
    assert embedder.images == 42
    assert result.notes == ("templates: no mirrored images, each brought to length 1, detector score not used",)


@pytest.mark.parametrize("seed", range(5))
def test_ranks_of_both_galleries_as_one_are_the_published_ones(ijb: Path, seed: int) -> None:
    read = read_ijb(ijb)
    embeddings = np.random.default_rng(seed).normal(size=(42, 6))
    embeddings[:, 0] += read.templates // 10
    result = judge_ijb(read, embeddings, ranks=(1, 2, 3))
    assert result.identification is not None
    assert result.identification.joined is not None
    for rank, rate in result.identification.joined.rank_rates.items():
        assert rate == published_1n(read, embeddings, rank)


def test_options_change_the_descriptors(ijb: Path) -> None:
    read = read_ijb(ijb)
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(42, 4)) * rng.uniform(0.1, 9, (42, 1))
    thresholds = {
        judge_ijb(read, embeddings, options=options, fars=(0.1,)).to_dict()["pairs"]["thresholds"]["1e-1"]["cosine"]
        for options in (IjbOptions(), IjbOptions(keep_norm=False), IjbOptions(detector_score=False))
    }
    assert len(thresholds) == 3


def test_a_folder_without_1n_says_so(ijb: Path) -> None:
    read = replace(read_ijb(ijb), galleries={}, probes=None)
    result = judge_ijb(read, np.random.default_rng(0).normal(size=(42, 4)))
    assert result.identification is None
    assert result.to_dict()["identification"] is None
    assert result.notes[1] == "1:N is left out: the folder has no lists of galleries and probes"


def test_a_template_whose_detector_scores_are_all_zero(ijb: Path) -> None:
    read = read_ijb(ijb)
    read.detector_scores[:3] = 0
    with pytest.raises(DataError, match=r"1 of 18 templates have no direction \(10\)"):
        judge_ijb(read, np.ones((42, 4)))


def test_lists_are_checked_before_an_image_is_embedded(
    ijb: Path, color_embedder: type[Any], make_ijb_folder: Callable[..., Path]
) -> None:
    (ijb / "meta/ijbc_1N_probe_mixed.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n999,1\n")
    embedder = color_embedder(size=24)
    with pytest.raises(DataError, match=r"probe_mixed\.csv: it names 1 templates that have no images: 999"):
        evaluate_ijb(embedder, ijb)
    assert embedder.images == 0
