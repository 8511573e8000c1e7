from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facedistill.data.images import read_image
from facedistill.errors import UsageError
from facedistill.evaluation.comparison import sheet as module
from facedistill.evaluation.comparison.benchmark_comparison import BenchmarkComparison, compare_on_pairs
from facedistill.evaluation.comparison.sheet import check_sheet_path, draw_sheet
from facedistill.evaluation.verification import VerificationResult

Made = Callable[..., VerificationResult]


@pytest.fixture
def compared(made: Made) -> BenchmarkComparison:
    return compare_on_pairs(["runs/$a^2", "b"], [made(1, 1.5), made(2, 0.8)], resamples=2)


def test_the_pairs_that_one_alone_gets_right(compared: BenchmarkComparison, tmp_path: Path) -> None:
    test = compared.differences[0].mcnemar
    split = test.only_first + test.only_second
    assert 4 < split < 30
    assert draw_sheet([compared], tmp_path / "new" / "sheet.png", most=100) == split
    image = read_image(tmp_path / "new" / "sheet.png")
    assert (image[:5] == 255).all(), "a margin"
    # Two greys a pair, at the place of its faces, the first pair in the upper left corner.
    assert 1000 < image.shape[1] < 1300
    assert draw_sheet([compared], tmp_path / "few.png", most=3) == 3
    assert read_image(tmp_path / "few.png").shape[0] < image.shape[0]


def test_the_clearest_come_first(
    compared: BenchmarkComparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one model is far from its threshold on the right side, and the other far on the wrong one."""
    shown: list[int] = []
    draw_pair = module._draw_pair
    monkeypatch.setattr(
        module, "_draw_pair", lambda sheet, each, *a, **k: shown.append(each.pair) or draw_pair(sheet, each, *a, **k)
    )  # type: ignore[func-returns-value]
    draw_sheet([compared], tmp_path / "sheet.png", most=5)
    first, second = compared.decisions
    margins = [
        np.abs(result.judged.distances - decisions.thresholds)  # type: ignore[union-attr]
        for result, decisions in zip(compared.results, compared.decisions, strict=True)
    ]
    split = np.flatnonzero(first.right ^ second.right)
    assert shown == sorted(split.tolist(), key=lambda pair: -(margins[0] + margins[1])[pair])[:5]


def test_three_models(made: Made, tmp_path: Path) -> None:
    compared = compare_on_pairs(["a", "b", "c"], [made(1, 1.5), made(2, 0.8), made(3, 1.0)], resamples=2)
    right = np.stack([decisions.right for decisions in compared.decisions]).sum(axis=0)
    assert draw_sheet([compared], tmp_path / "sheet.png", most=100) == np.count_nonzero((right > 0) & (right < 3))


def test_several_lists_share_a_sheet(made: Made, tmp_path: Path) -> None:
    several = [
        compare_on_pairs(["a", "b"], [made(1, 1.5, listed=n), made(2, 0.8, listed=n)], resamples=2) for n in (0, 1)
    ]
    counts = [draw_sheet([each], tmp_path / "one.png", most=100) for each in several]
    assert draw_sheet(several, tmp_path / "both.png", most=100) == sum(counts)


def test_faces_that_cannot_be_read_leave_an_empty_place(
    compared: BenchmarkComparison, tmp_path: Path, photos_of: type[Any]
) -> None:
    results = [replace(r, judged=replace(r.judged, images=photos_of(40, range(40)))) for r in compared.results]  # type: ignore[type-var]
    broken = replace(compared, results=tuple(results))
    assert draw_sheet([broken], tmp_path / "sheet.png") > 0
    assert (read_image(tmp_path / "sheet.png") == 235).all(axis=2).sum() > 128 * 128


def test_nothing_to_show(made: Made, tmp_path: Path) -> None:
    alike = compare_on_pairs(["a", "b"], [made(1), made(1)], resamples=2)
    assert draw_sheet([alike], tmp_path / "sheet.png") == 0
    results = [replace(r, judged=replace(r.judged, images=None)) for r in (made(1, 1.5), made(2))]  # type: ignore[type-var]
    assert draw_sheet([compare_on_pairs(["a", "b"], results, resamples=2)], tmp_path / "sheet.png") == 0
    assert not (tmp_path / "sheet.png").exists()


def test_only_png(compared: BenchmarkComparison) -> None:
    with pytest.raises(UsageError, match=r"'\.jpg'"):
        check_sheet_path(Path("a.jpg"))
    with pytest.raises(UsageError, match=r"Use \.png"):
        draw_sheet([compared], Path("sheet"))
