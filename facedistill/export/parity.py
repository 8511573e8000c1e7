"""Whether a file gives the embeddings that it was made to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.embedders.embedder import Embedder
from facedistill.errors import GateError, ModelFileError
from facedistill.export.graph.trial import unit_rows
from facedistill.export.options import Precision

BATCHES = (1, 2, 5, 64)
"""Batch sizes at which a file is run; 2 is the example that the exporter sees, the others are not."""

LARGEST_DIFFERENCE = 1e-5
"""Of one number of a unit embedding, in fp32."""

LOWEST_COSINE = 0.9999
"""Of any embedding, in fp16."""

MEAN_COSINE = 0.98
"""Of the embeddings of held-out crops, in int8."""


@dataclass(frozen=True)
class Parity:
    """How closely a file follows its source on some images.

    Args:
        images: what they are.
        count: how many.
        batches: at which batch sizes they were embedded.
        lowest_cosine: between the two embeddings of an image, the lowest of all images and batch sizes.
        mean_cosine: the mean of all.
        largest_difference: between numbers of unit embeddings, the largest.
    """

    images: str
    count: int
    batches: tuple[int, ...]
    lowest_cosine: float
    mean_cosine: float
    largest_difference: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "images": self.images,
            "count": self.count,
            "batches": list(self.batches),
            "lowest_cosine": self.lowest_cosine,
            "mean_cosine": self.mean_cosine,
            "largest_difference": self.largest_difference,
        }

    def __str__(self) -> str:
        return (
            f"{self.count} {self.images}: cosine {self.mean_cosine:.6f} (lowest {self.lowest_cosine:.6f}), "
            f"largest difference {self.largest_difference:.1e}"
        )


def measure_parity(
    expected: npt.NDArray[np.float32],
    embedder: Embedder,
    crops: npt.NDArray[np.uint8],
    images: str,
    batches: Sequence[int] = BATCHES,
) -> Parity:
    """Compare embeddings of the same crops, at every batch size.

    Args:
        expected: (N, D) float32, the source's embeddings.
        embedder: the result.
        crops: (N, S, S, 3) uint8 RGB.
        images: what the crops are.
        batches: sizes of which each is run once, on the first crops; larger ones than N are N.

    Raises:
        GateError: it cannot be run at one of the batch sizes, gives another number of values, or something that is no
            direction: not finite, all zero, or one embedding for all images where the source gives several.
    """
    sizes = tuple(dict.fromkeys(min(size, len(crops)) for size in batches))
    cosines, differences = [], []
    for size in sizes:
        try:
            found = embedder.embed(crops[:size])
        except ModelFileError as error:
            raise GateError(f"the result does not run at batch {size} ({error.cause})") from error
        if found.shape != (size, expected.shape[1]):
            raise GateError(f"at batch {size} the result gives {found.shape}, not {(size, expected.shape[1])}")
        require_directions(found, f"{images} at batch {size}")
        ours, theirs = unit_rows(found), unit_rows(expected[:size])
        cosines.append((ours * theirs).sum(axis=1))
        differences.append(float(np.abs(ours - theirs).max()))
        if size > 1 and _all_alike(ours) and not _all_alike(theirs):
            raise GateError(f"the result gives all {images} one embedding")
    flat = np.concatenate(cosines)
    return Parity(images, len(crops), sizes, float(flat.min()), float(flat.mean()), max(differences))


def hold_parity(precision: Precision, of_noise: Parity, of_crops: Parity | None) -> None:
    """GateError where the parity is not what this precision promises.

    Random pixels are no faces, and ranges calibrated on faces do not fit them, so int8 is judged by crops alone; its
    weights-only form, which is calibrated on nothing, by either.
    """
    measured = [of_noise] if of_crops is None else [of_noise, of_crops]
    if precision == "int8" and of_crops is not None:
        measured = [of_crops]
    for parity in measured:
        # Written so that a NaN fails too.
        if precision == "fp32":
            sound = parity.largest_difference <= LARGEST_DIFFERENCE
            asked = f"the largest difference may be {LARGEST_DIFFERENCE:.0e}"
        elif precision == "fp16":
            sound = parity.lowest_cosine >= LOWEST_COSINE
            asked = f"the lowest cosine has to be {LOWEST_COSINE}"
        else:
            sound = parity.mean_cosine >= MEAN_COSINE
            asked = f"the mean cosine has to be {MEAN_COSINE}"
        if not sound:
            raise GateError(f"the result does not follow its source ({parity}); in {precision} {asked}")


def require_directions(embeddings: npt.NDArray[np.float32], images: str) -> None:
    """GateError for embeddings that are not finite, or zero."""
    if not np.isfinite(embeddings).all():
        raise GateError(f"the result gives embeddings that are not finite, for {images}")
    if not np.linalg.norm(embeddings, axis=1).all():
        raise GateError(f"the result gives embeddings that are all zero, for {images}")


def _all_alike(rows: npt.NDArray[np.float64]) -> bool:
    return bool(np.abs(rows - rows[0]).max() < 1e-7)
