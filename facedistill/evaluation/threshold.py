"""The operating point for an application: the threshold of a FAR, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from facedistill.errors import DataError
from facedistill.evaluation.all_pairs import AllPairsResult
from facedistill.evaluation.comparison.pair_people import people_of_judged
from facedistill.evaluation.comparison.paired_bootstrap import drawn_weights
from facedistill.evaluation.comparison.weighted_figures import WeightedFigures
from facedistill.evaluation.metrics import OperatingPoint, cosine_of, far_label, impostors_needed
from facedistill.evaluation.people_bootstrap import RESAMPLES
from facedistill.evaluation.tar_intervals import CONFIDENCE
from facedistill.evaluation.verification import VerificationResult


@dataclass(frozen=True)
class Threshold:
    """The threshold of one FAR, read on one benchmark.

    Args:
        far: what was asked for.
        point: the threshold (squared L2 distance), and the TAR and FAR there.
        ends: lower and upper end of the threshold's interval, squared L2 distances; None where there is none.
        resampled: what was drawn for it, "people" or "pairs".
        benchmark: its name.
        genuine: its genuine pairs.
        impostor: its impostor pairs.
        benchmark_sha256: of the list, the `.bin` file or the data set.
    """

    far: float
    point: OperatingPoint
    ends: tuple[float, float] | None
    resampled: str
    benchmark: str
    genuine: int
    impostor: int
    benchmark_sha256: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: each threshold in three measures, with the rule to apply it by."""
        values: dict[str, Any] = {
            "far": self.far,
            **spell(self.point.threshold),
            "rule": "same person where cosine > threshold, l2 < threshold or squared_l2 < threshold",
            "descriptor": "embedding of the crop + embedding of its mirror image, scaled to length 1",
            "tar": self.point.tar,
            "measured_far": self.point.far,
        }
        if self.ends is not None:
            ends = [spell(end) for end in self.ends]
            sides = {name: sorted(end[name] for end in ends) for name in ends[0]}
            values["interval"] = {"confidence": CONFIDENCE, "over": self.resampled, **sides}
        return values | {
            "benchmark": self.benchmark,
            "benchmark_sha256": self.benchmark_sha256,
            "genuine_pairs": self.genuine,
            "impostor_pairs": self.impostor,
        }

    def row(self) -> list[str]:
        """A row of the table whose columns are `COLUMNS`."""
        spelled = spell(self.point.threshold)
        if self.ends is None:
            between = "-"
        else:
            low, high = sorted(cosine_of(end) for end in self.ends)
            between = f"{low:.3f} to {high:.3f}"
        return [
            self.benchmark,
            far_label(self.far),
            f"{spelled['cosine']:.4f}",
            between,
            f"{spelled['l2']:.4f}",
            f"{spelled['squared_l2']:.4f}",
            f"{100 * self.point.tar:.2f}",
        ]


COLUMNS = ["benchmark", "FAR", "cosine above", "95 % of the cosine", "L2 below", "L2² below", "TAR, %"]


def spell(squared_distance: float) -> dict[str, float]:
    """A threshold as `cosine`, `l2` (distance of unit descriptors) and `squared_l2`."""
    return {
        "cosine": cosine_of(squared_distance),
        "l2": math.sqrt(squared_distance),
        "squared_l2": squared_distance,
    }


def threshold_on_pairs(result: VerificationResult, far: float, *, resamples: int = RESAMPLES) -> Threshold:
    """The threshold of a FAR on a pair list.

    Args:
        result: judged with this FAR among its FARs.
        far: between 0 and 1.
        resamples: for the interval; 0 for none.

    Raises:
        DataError: the impostor pairs are too few for the FAR.
    """
    point = _resolved(result.operating_points[far_label(far)], far, result.impostor, result.name)
    judged, ends, over = result.judged, None, "pairs"
    if resamples and judged is not None:
        people = people_of_judged(judged)
        over = "pairs" if people is None else "people"
        weighted = WeightedFigures(judged.distances, judged.same, judged.folds, [far])
        weights = drawn_weights(judged.same, people, seed=0)
        found = np.concatenate([weighted.thresholds(next(weights)) for _ in range(resamples)])
        ends = _ends(found)
    return Threshold(far, point, ends, over, result.name, result.genuine, result.impostor, result.source_sha256)


def threshold_on_all_pairs(result: AllPairsResult, far: float) -> Threshold:
    """The threshold of a FAR on all pairs of a data set, judged with this FAR among its FARs; errors likewise."""
    label = far_label(far)
    point = _resolved(result.operating_points[label], far, result.impostor, result.name)
    ends = (result.threshold_intervals or {}).get(label)
    return Threshold(far, point, ends, "people", result.name, result.genuine, result.impostor, result.fingerprint)


def _ends(thresholds: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    low, high = np.quantile(thresholds, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _resolved(point: OperatingPoint | None, far: float, impostor: int, name: str) -> OperatingPoint:
    if point is None:
        raise DataError(
            f"a FAR of {far_label(far)} needs {impostors_needed(far):,} impostor pairs, and there are {impostor:,}",
            place=name,
            next_step="Take a higher FAR, a larger list, or --all-pairs of the same photos",
        )
    return point
