from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from facedistill.evaluation.identification.identification import IdentificationResult
from facedistill.evaluation.identification.rates import GalleryFigures, gallery_figures
from facedistill.evaluation.identification.search import Searches, search_gallery


def at_angles(*degrees: float) -> Any:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def figures(searches: Searches, **settings: Any) -> GalleryFigures:
    return gallery_figures(searches, name="made", entries=3, people=3, **settings)


# Ten probes in a gallery of Ann at 0, Bo at 40 and Cy at 90 degrees; Xi and Yo have no entry.
GALLERY, GALLERY_PEOPLE = at_angles(0, 40, 90), np.array([0, 1, 2])
PROBES = at_angles(2, 12, 30, 45, 60, 88, 180, 55, 95, 140)
PROBE_PEOPLE = np.array([0, 0, 0, 1, 2, 2, 3, 3, 4, 4])


def test_ten_templates_by_hand() -> None:
    """Mated: Ann at 2 (rank 1), 12 (1), 30 (2: Bo is at 10); Bo at 45 (1); Cy at 60 (2: Bo is at 20), 88 (1).

    Non-mated, with the angle to the nearest entry: 180 (90 to Cy), 55 (15 to Bo), 95 (5 to Cy), 140 (50 to Cy).
    FPIR 0.25 lets one of the four in, so the threshold is at 15 degrees: of the mated, those at 2, 12, 45 (5 from Bo)
    and 88 (2 from Cy) are nearer and first. At FPIR 0.5 it is at 50, which lets in nobody who is not first.
    """
    found = figures(search_gallery(PROBES, PROBE_PEOPLE, GALLERY, GALLERY_PEOPLE), ranks=(1, 2), fpirs=(0.1, 0.25, 0.5))
    assert (found.mated, found.non_mated) == (6, 4)
    assert found.rank_rates == {1: 4 / 6, 2: 1.0}
    assert found.tpir_at_fpir == {"1e-1": None, "2.5e-1": 4 / 6, "5e-1": 4 / 6}
    assert found.unresolvable == {"1e-1": "needs 10 non-mated probes"}
    point = found.operating_points["2.5e-1"]
    assert point is not None
    assert point.fpir == 0.25
    assert point.threshold == pytest.approx(2 - 2 * np.cos(np.radians(15)), abs=1e-6)
    spelled = found.to_dict()
    assert spelled["thresholds"]["2.5e-1"]["cosine"] == pytest.approx(np.cos(np.radians(15)), abs=1e-6)
    assert spelled["rank"] == {"1": 4 / 6, "2": 1.0}


def test_the_threshold_can_refuse_a_first_mate() -> None:
    """With a stranger 1 degree from Bo, only what is nearer than that is a true positive identification."""
    probes, people = np.concatenate([PROBES[:6], at_angles(41, 41.5)]), np.append(PROBE_PEOPLE[:6], [7, 8])
    found = figures(search_gallery(probes, people, GALLERY, GALLERY_PEOPLE), ranks=(1,), fpirs=(0.5,))
    assert found.rank_rates == {1: 4 / 6}
    assert found.tpir_at_fpir == {"5e-1": 0.0}


def test_it_is_the_direct_count() -> None:
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(60, 8))
    gallery_people, probe_people = np.arange(40), rng.integers(0, 60, 300)
    gallery, probes = centres[:40], centres[probe_people] + 0.8 * rng.normal(size=(300, 8))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    found = gallery_figures(
        search_gallery(probes, probe_people, gallery, gallery_people), name="made", entries=40, people=40,
        ranks=(1, 5, 10), fpirs=(0.02, 0.1),
    )  # fmt: skip
    cosines = probes @ gallery.T
    strangers = sorted(cosines[probe_people >= 40].max(axis=1), reverse=True)
    for rank, rate in found.rank_rates.items():
        hits = [
            person in np.argsort(-row)[:rank].tolist()
            for row, person in zip(cosines, probe_people.tolist(), strict=True)
            if person < 40
        ]
        assert rate == np.mean(hits)
    for label, tpir in found.tpir_at_fpir.items():
        threshold = strangers[int(float(label) * len(strangers))]
        assert sum(stranger > threshold for stranger in strangers) / len(strangers) <= float(label)
        hits = [
            row.argmax() == person and row[person] > threshold
            for row, person in zip(cosines, probe_people.tolist(), strict=True)
            if person < 40
        ]
        assert tpir == np.mean(hits)
        assert 0 < np.mean(hits) < 1, "the figure could not tell a fault"


def test_strangers_that_are_all_alike_let_nobody_in() -> None:
    probes, people = np.concatenate([PROBES[:1], at_angles(*[40.0] * 10)]), np.array([0] + [7] * 10)
    found = figures(search_gallery(probes, people, GALLERY, GALLERY_PEOPLE), fpirs=(0.1,))
    point = found.operating_points["1e-1"]
    assert point is not None
    assert (point.fpir, point.tpir) == (0.0, 0.0)


def test_a_mate_as_near_as_the_stranger_at_the_threshold_is_refused() -> None:
    """Ann's probe is 5 degrees from her, as far as the strangers from Cy, of whom nobody may come in."""
    probes, people = at_angles(5, *[95.0] * 10), np.array([0] + [7] * 10)
    found = figures(search_gallery(probes, people, GALLERY, GALLERY_PEOPLE), fpirs=(0.1,))
    assert found.rank_rates[1] == 1.0
    assert found.tpir_at_fpir == {"1e-1": 0.0}


@pytest.mark.parametrize("people", [[0, 0], [8, 9]])
def test_probes_of_one_kind_only(people: list[int]) -> None:
    found = figures(search_gallery(PROBES[:2], np.array(people), GALLERY, GALLERY_PEOPLE), ranks=(1,), fpirs=(0.5,))
    mated = people[0] == 0
    assert found.rank_rates == {1: 1.0 if mated else None}
    assert found.tpir_at_fpir == {"5e-1": None}
    assert found.unresolvable == {"5e-1": "needs 2 non-mated probes" if mated else "needs mated probes"}


def test_the_mean_over_galleries() -> None:
    one = figures(search_gallery(PROBES, PROBE_PEOPLE, GALLERY, GALLERY_PEOPLE), ranks=(1,), fpirs=(0.25, 0.2))
    two = figures(
        search_gallery(PROBES, PROBE_PEOPLE, at_angles(180, 140), np.array([3, 4])), ranks=(1,), fpirs=(0.25, 0.2)
    )
    result = IdentificationResult("made", (one, two), joined=one)
    assert (two.mated, two.non_mated, two.rank_rates) == (4, 6, {1: 0.75})  # 55 of person 3 is nearer to 140
    assert result.rank_rates == {1: pytest.approx((4 / 6 + 0.75) / 2)}
    assert two.tpir_at_fpir["2e-1"] is not None
    assert result.tpir_at_fpir["2e-1"] is None, "the first gallery has four non-mated probes, and five are needed"
    assert result.tpir_at_fpir["2.5e-1"] == pytest.approx((4 / 6 + two.tpir_at_fpir["2.5e-1"]) / 2)  # type: ignore[operator]
    columns, rows = result.table()
    assert columns[-2:] == ["TPIR at FPIR 2.5e-1", "TPIR at FPIR 2e-1"]
    assert [row[1] for row in rows] == ["made", "made", "mean", "made"]
    assert rows[2][5:] == ["70.83", f"{100 * result.tpir_at_fpir['2.5e-1']:.2f}", "-"]  # type: ignore[operator]
    assert result.to_dict()["rank"] == {"1": pytest.approx(17 / 24)}
