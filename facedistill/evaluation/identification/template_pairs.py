"""1:1 figures of template pairs: TAR at FAR, exactly, and as the published IJB script reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.evaluation.identification.templates import Templates
from facedistill.evaluation.metrics import (
    OperatingPoint,
    ReadAtFars,
    accepted_impostors,
    far_label,
    impostors_needed,
    spelled_thresholds,
)

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

FloatArray = npt.NDArray[np.float64]

_PAIRS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class NearestPoint:
    """The point of the ROC whose FAR is nearest to the one asked for.

    Args:
        tar: share of the genuine pairs that are accepted.
        far: share of the impostor pairs that are; it may lie above the one asked for.
    """

    tar: float
    far: float


@dataclass(frozen=True)
class TemplatePairFigures(ReadAtFars):
    """What one model reaches on pairs of templates; rates are fractions, thresholds squared L2 distances.

    Args:
        name: the benchmark's.
        genuine: number of genuine pairs.
        impostor: number of impostor pairs.
        operating_points: FAR label -> TAR at the largest threshold that keeps the FAR, and that threshold; None where
            the impostor pairs are too few for that FAR.
        nearest: FAR label -> the point that the published script reads, to compare with published tables.
    """

    name: str
    genuine: int
    impostor: int
    operating_points: dict[str, OperatingPoint | None]
    nearest: dict[str, NearestPoint]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "genuine": self.genuine,
            "impostor": self.impostor,
            "tar_at_far": self.tar_at_far,
            "unresolvable": self.unresolvable,
            "thresholds": spelled_thresholds(self.operating_points),
            "nearest": {label: {"tar": point.tar, "far": point.far} for label, point in self.nearest.items()},
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names and two rows: TAR in % at the FAR of its column, and the same as published scripts read it."""
        columns = ["1:1", "genuine", "impostor", "read at", *(f"TAR at {label}" for label in self.operating_points)]
        first = [self.name, f"{self.genuine:,}", f"{self.impostor:,}"]
        exact = ["-" if tar is None else f"{100 * tar:.2f}" for tar in self.tar_at_far.values()]
        nearest = [f"{100 * point.tar:.2f}" for point in self.nearest.values()]
        return columns, [[*first, "FAR kept", *exact], [*first, "nearest FAR", *nearest]]


def score_pairs(templates: Templates, pairs: npt.NDArray[np.integer]) -> FloatArray:
    """(P,) float64 cosine of each of (P, 2) pairs of templates, in blocks."""
    cosines = np.empty(len(pairs), dtype=np.float64)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        first, second = templates.of(part[:, 0]), templates.of(part[:, 1])
        cosines[start : start + len(part)] = np.einsum("pd,pd->p", first, second)
    return cosines


def template_pair_figures(
    cosines: FloatArray, same: npt.NDArray[np.bool_], *, name: str, fars: Sequence[float] = FARS
) -> TemplatePairFigures:
    """All figures of (P,) cosines and (P,) flags from one sort.

    Raises:
        DataError: a cosine is not finite, or a class has no pair.
    """
    if not np.isfinite(cosines).all():
        raise DataError("the embeddings are not finite", place=name)
    genuine, impostor = np.sort(cosines[same]), np.sort(cosines[~same])
    if not len(genuine) or not len(impostor):
        raise DataError(
            f"it holds {len(genuine)} genuine and {len(impostor)} impostor pairs, and both kinds are needed",
            place=name,
        )
    return TemplatePairFigures(
        name,
        len(genuine),
        len(impostor),
        {far_label(far): _keeping(genuine, impostor, far) for far in fars},
        dict(zip(map(far_label, fars), _nearest_points(genuine, impostor, fars), strict=True)),
    )


def _keeping(genuine: FloatArray, impostor: FloatArray, far: float) -> OperatingPoint | None:
    """What `tar_at_far` of the squared distances gives, from ascending cosines."""
    if len(impostor) < impostors_needed(far):
        return None
    cosine = impostor[len(impostor) - 1 - accepted_impostors(far, len(impostor))]
    genuine_above = len(genuine) - int(np.searchsorted(genuine, cosine, side="right"))
    impostor_above = len(impostor) - int(np.searchsorted(impostor, cosine, side="right"))
    return OperatingPoint(
        2.0 - 2.0 * float(cosine), tar=genuine_above / len(genuine), far=impostor_above / len(impostor)
    )


def _nearest_points(genuine: FloatArray, impostor: FloatArray, fars: Sequence[float]) -> list[NearestPoint]:
    """The points that insightface's IJB script reads off scikit-learn's `roc_curve`, from ascending cosines.

    That curve has a point for each distinct score, but for those that lie midway between their neighbours. Of points
    whose FAR is equally near, the one of the highest FAR and TAR counts.
    """
    # The genuine ones are put in their places among the impostors, which saves sorting all of them again.
    places = np.searchsorted(impostor, genuine) + np.arange(len(genuine))
    is_genuine = np.zeros(len(genuine) + len(impostor), dtype=np.bool_)
    is_genuine[places] = True
    merged = np.empty(len(is_genuine), dtype=np.float64)
    merged[is_genuine], merged[~is_genuine] = genuine, impostor
    starts = np.flatnonzero(np.concatenate([[True], merged[1:] != merged[:-1]]))
    del merged
    # Accepted is what scores as much or more: all but those before the first of that score.
    genuine_before = (np.cumsum(is_genuine, dtype=np.int32) - is_genuine)[starts]
    true_accepts = len(genuine) - genuine_before
    false_accepts = len(impostor) - (starts - genuine_before)
    corner = np.ones(len(starts), dtype=np.bool_)
    corner[1:-1] = (np.diff(false_accepts, 2) != 0) | (np.diff(true_accepts, 2) != 0)
    true_accepts = np.append(true_accepts[corner], 0)
    rates = np.append(false_accepts[corner], 0) / len(impostor)
    nearest = [int(np.argmin(np.abs(rates - far))) for far in fars]
    return [NearestPoint(float(true_accepts[place] / len(genuine)), float(rates[place])) for place in nearest]
