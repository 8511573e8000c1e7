from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.errors import DataError
from facedistill.evaluation import all_pairs as all_pairs_module
from facedistill.evaluation import people_bootstrap as module
from facedistill.evaluation import ranked_pairs
from facedistill.evaluation.all_pairs import all_pairs
from facedistill.evaluation.people_bootstrap import PeopleBootstrap, ResampledTars
from facedistill.evaluation.tar_intervals import tar_differences, tar_intervals

FARS = (1e-1, 1e-2, 1e-3)


def made_people(seed: int, people: int = 25, size: int = 8, noise: float = 0.6) -> tuple[Any, Any]:
    """Unit embeddings of people with one to five photos each, in shuffled order, under labels with gaps."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.permutation(10 * people)[:people], rng.integers(1, 6, size=people))
    centres = {label: rng.normal(size=size) for label in np.unique(labels)}
    rng.shuffle(labels)
    embeddings = np.stack([centres[label] for label in labels]) + noise * rng.normal(size=(len(labels), size))
    return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), labels


def slow_figures(cosines: Any, labels: Any, drawn: list[Any], far: float) -> tuple[float, float, float]:
    """Of the people in `drawn`, each a copy of its own, pair by pair: TAR, the mean of their own, the threshold."""
    copies = [(copy, image) for copy, person in enumerate(drawn) for image in np.flatnonzero(labels == person)]
    genuine, impostor, own = [], [], {}
    for (copy_a, a), (copy_b, b) in itertools.combinations(copies, 2):
        cosine = cosines[min(a, b), max(a, b)]
        if copy_a == copy_b:
            genuine.append(cosine)
            own.setdefault(copy_a, []).append(cosine)
        elif labels[a] != labels[b]:
            impostor.append(cosine)
    threshold = sorted(impostor, reverse=True)[math.floor(far * len(impostor))]
    shares = [sum(cosine > threshold for cosine in found) / len(found) for found in own.values()]
    return sum(cosine > threshold for cosine in genuine) / len(genuine), sum(shares) / len(shares), threshold


def test_it_is_the_bootstrap_of_people_written_out() -> None:
    embeddings, labels = made_people(0)
    cosines = embeddings @ embeddings.T
    names = np.unique(labels)
    found = PeopleBootstrap(labels, fars=FARS, resamples=12, seed=5).of(embeddings)
    generator = np.random.default_rng(5)
    rows = zip(found.resampled, found.each_person_alike.resampled, found.resampled_cosines, strict=True)
    for row in rows:
        drawn = list(names[generator.integers(len(names), size=len(names))])
        assert max(drawn.count(name) for name in drawn) > 1, "no person is drawn twice, so the case is not tried"
        expected = np.array([slow_figures(cosines, labels, drawn, far) for far in FARS]).T
        assert np.array(row) == pytest.approx(expected)
    assert len({*found.resampled[:, 1]}) > 6, "the figures could not tell a fault"
    assert (np.abs(found.resampled - found.person_resampled) > 1e-3).mean() > 0.6


def test_the_estimate_is_that_of_all_pairs() -> None:
    embeddings, labels = made_people(1)
    found = PeopleBootstrap(labels, fars=(*FARS, 1e-5), resamples=2).of(embeddings)
    expected = all_pairs(embeddings, labels, name="made", fars=(*FARS, 1e-5))
    assert expected.tar_at_far["1e-5"] is None
    assert [None if np.isnan(tar) else tar for tar in found.estimate] == list(expected.tar_at_far.values())
    alike = [None if np.isnan(tar) else pytest.approx(tar) for tar in found.each_person_alike.estimate]
    assert alike == list(expected.person_tars.values())
    thresholds = [point.threshold for point in expected.operating_points.values() if point is not None]
    assert 2 - 2 * found.cosines[:3] == pytest.approx(thresholds)
    assert np.isnan(found.resampled[:, 3]).all()
    assert not np.isnan(found.resampled[:, :3]).any()


@pytest.mark.parametrize("cells", [1, 300, 1 << 21])
@pytest.mark.parametrize("kept", [0.01, 1.0, 1e9])
def test_neither_blocks_nor_the_ranked_share_change_a_figure(
    cells: int, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a small share every resample runs out of pairs at first."""
    embeddings, labels = made_people(2)
    embeddings[3:9] = embeddings[0]  # ties among the highest
    expected = PeopleBootstrap(labels, fars=FARS, resamples=30).of(embeddings)
    monkeypatch.setattr(module, "_KEPT", kept)
    monkeypatch.setattr(ranked_pairs, "_CELLS_AT_ONCE", cells)
    found = PeopleBootstrap(labels, fars=FARS, resamples=30).of(embeddings)
    assert found.resampled.tolist() == expected.resampled.tolist()


def test_too_few_ranked_pairs_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    rank_pairs = ranked_pairs.rank_pairs

    def count(embeddings: Any, people: Any, kept: int) -> Any:
        asked.append(kept)
        return rank_pairs(embeddings, people, kept)

    monkeypatch.setattr(module, "rank_pairs", count)
    monkeypatch.setattr(module, "_KEPT", 1.0)
    embeddings, labels = made_people(3)
    PeopleBootstrap(labels, fars=(1e-1,), resamples=50).of(embeddings)
    assert len(asked) > 1
    assert asked[1] == 2 * asked[0]


def test_a_far_that_lets_in_too_many_pairs_has_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = made_people(3)
    full = all_pairs(embeddings, labels, name="made", fars=FARS, resamples=20)
    monkeypatch.setattr(module, "MOST_ACCEPTED", 100)
    monkeypatch.setattr(all_pairs_module, "MOST_ACCEPTED", 100)
    found = all_pairs(embeddings, labels, name="made", fars=FARS, resamples=20)
    assert found.tar_at_far == full.tar_at_far
    assert found.intervals is not None
    assert full.intervals is not None
    assert found.intervals.at_far == {**full.intervals.at_far, "1e-1": None}
    assert found.notes == ("no interval at FAR 1e-1, which lets in more than 100 impostor pairs",)
    assert list(found.threshold_intervals or {}) == ["1e-2", "1e-3"]
    (_, (first, alike)) = found.table()
    assert "(" not in first[4]
    assert "(" in first[5]
    assert "(" in alike[5]


def test_a_seed_gives_one_result_and_another_seed_another() -> None:
    embeddings, labels = made_people(4)
    one, same, other = (PeopleBootstrap(labels, fars=FARS, resamples=20, seed=s).of(embeddings) for s in (0, 0, 1))
    assert one.resampled.tolist() == same.resampled.tolist() != other.resampled.tolist()
    assert one.people == same.people != other.people


def test_a_model_that_tells_nobody_apart() -> None:
    labels = made_people(5)[1]
    found = PeopleBootstrap(labels, fars=FARS, resamples=20).of(np.tile(np.eye(4)[0], (len(labels), 1)))
    assert not found.estimate.any()
    assert not found.resampled.any()


@pytest.mark.parametrize("labels", [[7, 7, -2], [7, 7, -2, 3]])
def test_the_fewest_people_there_can_be(labels: list[int]) -> None:
    """Draws that leave no genuine pair, or one person alone, are made again; else these would be half of them."""
    embeddings = np.eye(4)[[0, 0, 1, 2][: len(labels)]]
    found = PeopleBootstrap(np.array(labels), fars=(0.5,), resamples=50).of(embeddings)
    assert found.estimate.tolist() == [1.0]
    assert found.resampled.tolist() == [[1.0]] * 50


@pytest.mark.parametrize("labels", [[0, 1, 2], [4, 4, 4]])
def test_labels_that_make_no_pairs_of_a_kind(labels: list[int]) -> None:
    with pytest.raises(DataError, match=r"made: its 3 images .* both kinds are needed"):
        PeopleBootstrap(np.array(labels), name="made")


def test_embeddings_that_cannot_be_judged() -> None:
    embeddings, labels = made_people(6)
    bootstrap = PeopleBootstrap(labels, name="made")
    with pytest.raises(DataError, match=rf"made: 3 embeddings for {len(labels)} images"):
        bootstrap.of(embeddings[:3])
    embeddings[1, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        bootstrap.of(embeddings)


@pytest.mark.parametrize("settings", [{"fars": (0.0,)}, {"fars": (1.0,)}, {"resamples": 1}])
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"FAR|resamples"):
        PeopleBootstrap(made_people(6)[1], **settings)


Made = Callable[..., ResampledTars]


@pytest.fixture
def made() -> Made:
    def make(estimate: float, resampled: npt.ArrayLike, *, people: str = "a") -> ResampledTars:
        """Two FARs, the second beyond what can be resolved."""
        values = np.asarray(resampled, dtype=float)
        figures = np.array([estimate, np.nan]), np.stack([values, np.full(len(values), np.nan)], axis=1)
        return ResampledTars((1e-2, 1e-3), *figures, people, *figures, *figures)

    return make


def test_intervals_are_percentiles_of_the_mean_over_seeds(made: Made) -> None:
    steps = np.arange(101) / 1000
    found = tar_intervals([made(0.50, 0.4 + steps), made(0.60, 0.5 + 3 * steps)], name="m", confidence=0.9)
    interval = found.at_far["1e-2"]
    assert interval is not None
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.55, 0.46, 0.64))
    assert interval.seed_std == pytest.approx(0.1 / math.sqrt(2))
    assert found.at_far["1e-3"] is None
    assert found.table() == (
        ["FAR", "TAR", "90 % over people", "std over seeds"],
        [["1e-2", "55.00", "46.00 to 64.00", "7.07"], ["1e-3", "-", "-", "-"]],
    )
    assert found.to_dict()["at_far"]["1e-3"] is None
    assert "excludes_zero" not in found.to_dict()["at_far"]["1e-2"]


def test_a_difference_is_taken_within_each_resample(made: Made) -> None:
    """The people move both by far more than they move the difference, which only pairing can see."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=1000)
    better, worse = made(0.52, 0.52 + noise), made(0.51, 0.51 + noise)
    found = tar_differences([better], [worse], name="b", against="w")
    interval = found.at_far["1e-2"]
    assert interval is not None
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.01, 0.01, 0.01))
    assert interval.excludes_zero
    assert interval.one_sign
    assert interval.seed_std is None
    assert found.table()[1] == [
        ["1e-2", "+1.00", "+1.00 to +1.00", "-", "yes", "yes"],
        ["1e-3", "-", "-", "-", "-", "-"],
    ]
    assert found.table()[0][1] == "TAR above w"
    assert found.to_dict()["against"] == "w"
    assert found.to_dict()["at_far"]["1e-2"]["excludes_zero"] is True


def test_people_and_seeds_are_judged_apart(made: Made) -> None:
    none = made(0.5, np.full(50, 0.5))
    found = tar_differences([made(0.8, np.full(50, 0.8)), made(0.4, np.full(50, 0.4))], [none, none]).at_far["1e-2"]
    assert found is not None
    assert found.excludes_zero, "the mean of both is above in every resample"
    assert not found.one_sign, "but one of the runs is below"
    assert found.by_seed == pytest.approx((0.3, -0.1))
    turned = tar_differences([none], [made(0.8, np.full(50, 0.8))]).at_far["1e-2"]
    assert turned is not None
    assert turned.excludes_zero
    assert turned.one_sign


def test_what_cannot_be_taken_together(made: Made) -> None:
    one, other = made(0.5, [0.5, 0.5]), made(0.5, [0.5, 0.5], people="b")
    with pytest.raises(ValueError, match="different people"):
        tar_differences([one], [other])
    with pytest.raises(ValueError, match="different people"):
        tar_intervals([one, other])
    with pytest.raises(ValueError, match="2 runs cannot be paired with 1"):
        tar_differences([one, one], [one])
    with pytest.raises(ValueError, match="no run"):
        tar_intervals([])
    with pytest.raises(ValueError, match="confidence"):
        tar_intervals([one], confidence=95)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """TAR at FAR 1e-1 of made-up populations: 100 samples of 60 people each, against one of 3,000 people.

    Fifteen points of slack below 95 % are more than five standard errors of chance, and less than what resampling pairs
    in place of people loses.
    """
    size, noise, photos = 6, 0.5, 3

    def sample(rng: np.random.Generator, people: int) -> tuple[Any, Any]:
        labels = np.repeat(np.arange(people), photos)
        # People differ in how alike their photos are, so that pairs of one person are far from independent.
        spread = noise * rng.gamma(2.0, 0.5, size=people)[labels]
        embeddings = rng.normal(size=(people, size))[labels] + spread[:, None] * rng.normal(size=(len(labels), size))
        return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), labels

    whole, labels = sample(np.random.default_rng(0), 3000)
    truth = all_pairs(whole, labels, name="truth", fars=(1e-1,)).tar_at_far["1e-1"]
    assert truth is not None
    covered = 0
    for number in range(100):
        embeddings, labels = sample(np.random.default_rng(number + 1), 60)
        tars = PeopleBootstrap(labels, fars=(1e-1,), resamples=200, seed=number).of(embeddings)
        interval = tar_intervals([tars]).at_far["1e-1"]
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert covered >= 80
    assert covered < 100, "intervals so wide would say nothing"
