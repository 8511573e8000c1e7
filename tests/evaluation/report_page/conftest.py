"""An evaluation with everything in it that a report can show, as small as that goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.errors import DataError
from facedistill.evaluation.all_pairs import all_pairs
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.verification import VerificationResult
from facedistill.preprocessing import Preprocessing

EVIL = "\"><script>alert('1')</script>&amp;_$x^2$|"


class Photos:
    """Images of one shade each, of which some cannot be decoded; counts how often each is asked for."""

    def __init__(self, count: int, *, broken: tuple[int, ...] = (), name: str = "person/photo_{}.jpg") -> None:
        self.count, self.broken, self.name = count, broken, name
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        self.asked.append(index)
        if index in self.broken:
            raise DataError("the image is truncated")
        return np.full((224, 160, 3), index % 256, dtype=np.uint8)

    def encoded(self, index: int) -> bytes:
        raise NotImplementedError

    def key(self, index: int) -> str:
        return self.name.format(index)


def with_photos(result: VerificationResult, **settings: Any) -> VerificationResult:
    assert result.judged is not None
    return replace(result, judged=replace(result.judged, images=Photos(1000, **settings)))


@pytest.fixture
def evil() -> str:
    return EVIL


@pytest.fixture
def photographed() -> Callable[..., VerificationResult]:
    return with_photos


@pytest.fixture
def judge() -> Callable[[list[float], list[float]], JudgedPairs]:
    """Pairs of the given distances, genuine ones first."""

    def judged(genuine: list[float], impostor: list[float]) -> JudgedPairs:
        distances = np.array([*genuine, *impostor], dtype=np.float64)
        pairs = np.stack([np.arange(len(distances)), np.arange(len(distances)) + 500], axis=1)
        same = np.repeat([True, False], [len(genuine), len(impostor)])
        return JudgedPairs(pairs, same, np.zeros(len(distances), dtype=np.int64), distances)

    return judged


@pytest.fixture
def report(noisy_result: Callable[..., VerificationResult], noisy_pairs: Callable[..., Any]) -> EvaluationReport:
    first = replace(
        with_photos(noisy_result(1, noise=0.6)), source="/home/somebody/lists/pairs.txt", source_sha256="ab" * 32
    )
    second = replace(noisy_result(2, noise=0.4), name="second", warnings=("the flags look inverted",))
    everything = all_pairs(
        noisy_pairs(0)[0], np.repeat(np.arange(40), 4), name="folder", fingerprint="cd" * 32, resamples=5
    )
    return EvaluationReport(
        "/home/somebody/runs/student/last.safetensors",
        "f" * 64,
        Preprocessing().to_dict(),
        (first, second),
        (everything,),
    )


@pytest.fixture
def evil_report(report: EvaluationReport) -> EvaluationReport:
    """The same with markup and commands in every text."""
    first = with_photos(report.results[0], name=EVIL + "{}")
    results = tuple(
        replace(result, name=EVIL, fold_scheme=EVIL, source=EVIL, source_sha256=EVIL, warnings=(EVIL,), notes=(EVIL,))
        for result in (first, report.results[1])
    )
    everything = replace(report.all_pairs[0], name=EVIL, fingerprint=EVIL, notes=(EVIL,))
    return replace(
        report, model=EVIL, model_sha256=EVIL, preprocessing={EVIL: EVIL}, results=results, all_pairs=(everything,)
    )
