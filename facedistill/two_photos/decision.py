"""One person or two: the cosine of two faces against a threshold, and where the threshold came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.embedders.embedder import Embedder
from facedistill.errors import UsageError
from facedistill.evaluation.descriptors import unit_embeddings
from facedistill.evaluation.metrics import far_label


@dataclass(frozen=True)
class ChosenThreshold:
    """A cosine above which two faces are taken for one person.

    Args:
        cosine: it.
        origin: where it came from, in words.
    """

    cosine: float
    origin: str


@dataclass(frozen=True)
class Decision:
    """Of two faces.

    Args:
        cosine: of their descriptors.
        threshold: what it is held against; None where nobody gave one.
    """

    cosine: float
    threshold: ChosenThreshold | None

    @property
    def same(self) -> bool | None:
        """Whether it is one person; None without a threshold."""
        return None if self.threshold is None else self.cosine > self.threshold.cosine

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "same": self.same,
            "cosine": self.cosine,
            "threshold": None if self.threshold is None else self.threshold.cosine,
            "threshold_origin": None if self.threshold is None else self.threshold.origin,
        }

    def sentence(self) -> str:
        """The verdict in words."""
        if self.threshold is None:
            return f"cosine {self.cosine:.3f}"
        verdict = "the same person" if self.same else "two people"
        return f"{verdict}: cosine {self.cosine:.3f}, threshold {self.threshold.cosine:.3f} ({self.threshold.origin})"


def cosine_of_faces(embedder: Embedder, first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    """The cosine of the descriptors of two (S, S, 3) uint8 RGB crops: of each, embedding plus that of its mirror image.

    Raises:
        ModelFileError: an embedding is not finite, or is all zeros.
    """
    crops = np.stack([first, second])
    summed = embedder.embed(crops) + embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    one, other = unit_embeddings(summed, ["first", "second"], place=embedder.name)
    return float(np.clip(one @ other, -1.0, 1.0))


def choose_threshold(
    given: float | None, saved: Sequence[Mapping[str, Any]], far: float | None
) -> ChosenThreshold | None:
    """The threshold to decide by: the one given, else one of those saved with the model.

    Args:
        given: a cosine; None for none.
        saved: see `read_thresholds`.
        far: whose threshold is meant; None for the strictest.

    Raises:
        UsageError: the cosine is none, or nothing is saved for the FAR.
    """
    if given is not None:
        if not -1 <= given <= 1:
            raise UsageError(f"the threshold is {given}, and a cosine lies between -1 and 1", place="--threshold")
        return ChosenThreshold(given, "given")
    if not saved:
        if far is not None:
            raise UsageError(
                "the model has no saved thresholds", place="--far", next_step="facedistill threshold --save makes some"
            )
        return None
    wanted = [values for values in saved if far is None or far_label(values["far"]) == far_label(far)]
    if not wanted:
        known = ", ".join(sorted({far_label(values["far"]) for values in saved}, key=float))
        raise UsageError(
            f"no threshold is saved for a FAR of {far_label(far or 0)}", place="--far", next_step=f"There are: {known}"
        )
    strictest = max(wanted, key=lambda values: float(values["cosine"]))
    return ChosenThreshold(
        float(strictest["cosine"]), f"FAR {far_label(strictest['far'])} on {strictest['benchmark']}, saved in the model"
    )
