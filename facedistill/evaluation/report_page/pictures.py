"""All pictures of an evaluation, for the page and as files for a paper."""

from __future__ import annotations

import re
from pathlib import Path

from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.report_page.curves import det_picture, roc_picture
from facedistill.evaluation.report_page.folds_picture import folds_picture
from facedistill.evaluation.report_page.picture import Picture
from facedistill.evaluation.report_page.scores_pictures import histogram_picture, thresholds_picture
from facedistill.evaluation.verification import VerificationResult
from facedistill.files import write_atomically

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_STEM = 60


def shared_pictures(report: EvaluationReport) -> list[Picture]:
    """Those that show every benchmark at once; none where there is no benchmark."""
    if not report.results:
        return []
    return [roc_picture(report.results), det_picture(report.results), folds_picture(report.results)]


def benchmark_pictures(result: VerificationResult, stem: str) -> list[Picture]:
    """Those of one benchmark, their names beginning with `stem`; none where its pairs were not kept."""
    if result.judged is None:
        return []
    return [histogram_picture(result, result.judged, stem), thresholds_picture(result, result.judged, stem)]


def write_pictures(report: EvaluationReport, folder: Path) -> list[Path]:
    """Write each picture as `.svg` and as `.png` (300 dots an inch), for a paper; gives the files.

    `roc`, `det` and `folds` show every benchmark; each one has `BENCHMARK-scores` and `BENCHMARK-thresholds` besides.
    The same report gives the same bytes.

    Raises:
        OSError: a file cannot be written.
    """
    pictures = shared_pictures(report)
    stems = file_stems([result.name for result in report.results])
    for result, stem in zip(report.results, stems, strict=True):
        pictures += benchmark_pictures(result, stem)
    written = []
    for picture in pictures:
        for kind in ("svg", "png"):
            path = folder / f"{picture.name}.{kind}"
            write_atomically(path, picture.render(kind))
            written.append(path)
    return written


def file_stems(names: list[str]) -> list[str]:
    """A file name's beginning for each name: letters that every system takes, and no two the same."""
    stems: list[str] = []
    for name in names:
        plain = _UNSAFE.sub("-", name)[:_LONGEST_STEM].strip(".-") or "benchmark"
        stem, number = plain, 1
        while stem.lower() in (taken.lower() for taken in stems):
            number += 1
            stem = f"{plain}-{number}"
        stems.append(stem)
    return stems
