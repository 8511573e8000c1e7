"""What makes verification figures doubtful: collapsed embeddings, inverted flags, images compared with themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facedistill.evaluation.metrics import THRESHOLDS, fold_accuracies

# Below this area under the ROC, genuine pairs are farther apart than impostor pairs. Ours; chance alone stays above.
_INVERTED_AREA = 0.4


def find_doubts(
    embeddings: npt.NDArray[np.floating],
    pairs: npt.NDArray[np.int64],
    same: npt.NDArray[np.bool_],
    folds: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float64],
    accuracy: float,
    area: float,
) -> tuple[str, ...]:
    """A sentence for each reason to doubt an evaluation.

    Args:
        embeddings: (N, D) unit embeddings.
        pairs: (P, 2) indices into them.
        same: (P,) flags.
        folds: (P,) fold of each pair.
        distances: (P,) squared L2 distances.
        accuracy: the mean over the held-out folds.
        area: under the ROC.
    """
    return (
        *_collapse(embeddings),
        *_self_pairs(pairs),
        *_repeated_pairs(pairs),
        *_inversion(distances, same, folds, accuracy, area),
    )


def _collapse(embeddings: npt.NDArray[np.floating]) -> list[str]:
    """Whether images lie so close together that the threshold grid cannot part them."""
    centre = np.mean(embeddings, axis=0, dtype=np.float64)
    # For unit vectors, the mean squared distance of two of them is 2 (1 - |mean|^2).
    spread = max(2.0 * (1.0 - float(np.sum(np.square(centre)))), 0.0)
    step = float(THRESHOLDS[1] - THRESHOLDS[0])
    if spread >= step:
        return []
    return [
        f"the embeddings have collapsed: the mean squared distance of two images is {spread:.2g}, "
        f"less than one step of the thresholds ({step:g})"
    ]


def _self_pairs(pairs: npt.NDArray[np.int64]) -> list[str]:
    count = int(np.count_nonzero(pairs[:, 0] == pairs[:, 1]))
    return [f"{count} pairs compare an image with itself"] if count else []


def _repeated_pairs(pairs: npt.NDArray[np.int64]) -> list[str]:
    """Whether a pair stands in the list again, either way round: it counts twice, and maybe in two folds."""
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    count = len(pairs) - len(np.unique(low * (pairs.max() + 1) + high))
    return [f"{count} pairs stand in the list more than once"] if count else []


def _inversion(
    distances: npt.NDArray[np.float64],
    same: npt.NDArray[np.bool_],
    folds: npt.NDArray[np.int64],
    accuracy: float,
    area: float,
) -> list[str]:
    """Whether genuine pairs lie farther apart than impostor pairs.

    The area is looked at as well, because with inverted flags the best threshold refuses every pair and so reaches
    one half where the classes are equally large.
    """
    if accuracy >= 0.5 and area >= _INVERTED_AREA:
        return []
    flipped = fold_accuracies(distances, ~same, folds).mean
    verdict = "the flags look inverted" if area < _INVERTED_AREA else "the model is no better than chance"
    return [f"accuracy {100 * accuracy:.2f} %, and {100 * flipped:.2f} % if same and different are swapped: {verdict}"]
