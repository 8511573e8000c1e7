"""The verification protocol of LFW and its successors: embeddings of pairs -> accuracy, TAR at FAR, thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.embedders.load_model import Model
from facedistill.errors import DataError
from facedistill.evaluation.benchmark import Benchmark, check_pairs, made_folds
from facedistill.evaluation.descriptors import describe
from facedistill.evaluation.doubts import find_doubts
from facedistill.evaluation.hubs import norm_warning
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.metrics import (
    FARS,
    FoldAccuracies,
    OperatingPoint,
    ReadAtFars,
    Roc,
    SortedDistances,
    cosine_of,
    far_label,
    fold_accuracies,
    spell_threshold,
    spelled_thresholds,
    squared_distances,
)


@dataclass(frozen=True)
class VerificationResult(ReadAtFars):
    """What one model reaches on one benchmark; rates are fractions, thresholds squared L2 distances.

    Args:
        name: the benchmark's.
        genuine: number of genuine pairs.
        impostor: number of impostor pairs.
        folds: accuracy and threshold of each held-out fold.
        fold_scheme: where the folds come from.
        operating_points: FAR label -> TAR and threshold; None where the impostor pairs are too few for that FAR.
        accuracy_threshold: the first threshold of best accuracy on all pairs.
        roc: the whole curve.
        source: the list or `.bin` file.
        source_sha256: its SHA-256, as hex.
        warnings: what makes the figures doubtful, in words.
        notes: what was done on the way, such as resizing.
        judged: the pairs with their distances.
        intervals: lower and upper end of "accuracy", "eer", "auc" and of the TAR at each FAR label; None where nobody
            asked for them. See `with_intervals`.
        resampled: over what: "people" or "pairs".
    """

    name: str
    genuine: int
    impostor: int
    folds: FoldAccuracies
    fold_scheme: str
    operating_points: dict[str, OperatingPoint | None]
    accuracy_threshold: float
    roc: Roc = field(repr=False, compare=False)
    source: str | None = None
    source_sha256: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    judged: JudgedPairs | None = field(default=None, repr=False, compare=False)
    intervals: dict[str, tuple[float, float] | None] | None = None
    resampled: str | None = None

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return self.genuine + self.impostor

    @property
    def accuracy(self) -> float:
        """The mean accuracy of the held-out folds."""
        return self.folds.mean

    @property
    def accuracy_std(self) -> float:
        """Their standard deviation (ddof 0)."""
        return self.folds.std

    @property
    def thresholds(self) -> dict[str, dict[str, float]]:
        """What the threshold is for -> its value as `squared_l2` (accept below it) and as `cosine` (accept above it).

        The uses are "accuracy" and the label of each resolvable FAR.
        """
        return {
            "accuracy": spell_threshold(self.accuracy_threshold),
            **spelled_thresholds(self.operating_points),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "pairs": self.pairs,
            "genuine": self.genuine,
            "impostor": self.impostor,
            "accuracy": self.accuracy,
            "accuracy_std": self.accuracy_std,
            "folds": list(self.folds.accuracies),
            "fold_thresholds": list(self.folds.thresholds),
            "fold_scheme": self.fold_scheme,
            "tar_at_far": self.tar_at_far,
            "unresolvable": self.unresolvable,
            "thresholds": self.thresholds,
            "fnmr_at_fmr": {far: None if tar is None else 1.0 - tar for far, tar in self.tar_at_far.items()},
            "auc": self.roc.area,
            "eer": self.roc.equal_error_rate,
            "intervals": self.intervals,
            "resampled": self.resampled,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and one row: rates in %, TAR at the FAR of its column, the threshold in both measures.

        A second row has the intervals, where there are some.
        """
        columns = ["benchmark", "pairs", "accuracy", "EER", "AUC"]
        columns += [f"TAR at {label}" for label in self.operating_points]
        row = [self.name, f"{self.pairs:,}", f"{100 * self.accuracy:.2f} ± {100 * self.accuracy_std:.2f}"]
        row += [f"{100 * self.roc.equal_error_rate:.2f}", f"{100 * self.roc.area:.2f}"]
        row += ["-" if tar is None else f"{100 * tar:.2f}" for tar in self.tar_at_far.values()]
        threshold = self.accuracy_threshold
        rows = [[*row, f"{threshold:.2f} / {cosine_of(threshold):.3f}"]]
        if self.intervals is not None:
            ends = [self.intervals[name] for name in ("accuracy", "eer", "auc", *self.operating_points)]
            spelled = ["" if end is None else f"{100 * end[0]:.2f} to {100 * end[1]:.2f}" for end in ends]
            rows.append([f"  95 % over {self.resampled}", "", *spelled, ""])
        return [*columns, "L2² / cos"], rows

    def plot(self, path: Path) -> None:
        """Draw the ROC to an image file."""
        from facedistill.evaluation.roc_plot import plot_roc

        plot_roc([self], path)


def evaluate_verification(
    model: Model,
    benchmark: Benchmark,
    *,
    batch_size: int = 64,
    fars: Sequence[float] = FARS,
    progress: Callable[[int, int], None] | None = None,
    shared: bool = False,
) -> VerificationResult:
    """Judge the pairs of a benchmark; each of its images is embedded once, and its mirror image.

    Args:
        model: any model, or a cache that holds the benchmark's images.
        benchmark: pairs and folds.
        batch_size: images a call of the network.
        fars: where TAR is read.
        progress: called with (images done, images) after each batch.
        shared: see `embed_dataset`.

    Raises:
        DataError, ModelFileError: as of `describe`.
    """
    used, positions = np.unique(benchmark.pairs, return_inverse=True)
    described = describe(model, benchmark.dataset, used, batch_size=batch_size, progress=progress, shared=shared)
    result = evaluate_embeddings(
        described.unit,
        positions.reshape(-1, 2).astype(np.int64),
        benchmark.same,
        benchmark.folds,
        name=benchmark.name,
        fold_scheme=benchmark.fold_scheme,
        fars=fars,
        source=None if benchmark.source is None else str(benchmark.source),
        source_sha256=benchmark.source_sha256,
        notes=described.notes,
    )
    assert result.judged is not None  # noqa: S101
    return replace(
        result,
        warnings=(*result.warnings, *norm_warning(described.norms, described.keys)),
        judged=replace(result.judged, pairs=benchmark.pairs, images=benchmark.dataset),
    )


def evaluate_embeddings(
    embeddings: npt.NDArray[np.floating],
    pairs: npt.NDArray[np.int64],
    same: npt.NDArray[np.bool_],
    folds: npt.NDArray[np.int64] | None = None,
    *,
    name: str,
    fold_scheme: str = "given folds",
    fars: Sequence[float] = FARS,
    source: str | None = None,
    source_sha256: str | None = None,
    notes: tuple[str, ...] = (),
) -> VerificationResult:
    """Judge pairs of unit embeddings.

    Args:
        embeddings: (N, D), each of length 1.
        pairs: (P, 2) indices into them.
        same: (P,) whether the pair is genuine.
        folds: (P,) the fold of each pair; None for 10 stratified ones.
        name: the benchmark's.
        fold_scheme: where the folds come from, in words.
        fars: where TAR is read.
        source: the benchmark's file, for the report.
        source_sha256: its SHA-256.
        notes: passed into the result.

    Raises:
        DataError: the arrays do not belong together, or a class has too few pairs.
    """
    if folds is None:
        folds, fold_scheme = made_folds(same, place=name)
    check_pairs(pairs, same, folds, images=len(embeddings), place=name)
    distances = squared_distances(embeddings, pairs)
    if not np.isfinite(distances).all():
        raise DataError("the embeddings are not finite", place=name)
    in_order = SortedDistances.of(distances, same)
    curve = in_order.roc()
    accuracies = fold_accuracies(distances, same, folds)
    return VerificationResult(
        name=name,
        genuine=int(np.count_nonzero(same)),
        impostor=int(np.count_nonzero(~same)),
        folds=accuracies,
        fold_scheme=fold_scheme,
        operating_points={far_label(far): in_order.operating_point(far) for far in fars},
        accuracy_threshold=in_order.best_threshold()[0],
        roc=curve,
        source=source,
        source_sha256=source_sha256,
        warnings=find_doubts(embeddings, pairs, same, folds, distances, accuracies.mean, curve.area),
        notes=notes,
        judged=JudgedPairs(pairs, same, folds, distances),
    )
