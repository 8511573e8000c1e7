"""A verification benchmark: pairs over images, with the folds of its protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.image_source import ImageSource
from facedistill.data.verification_bin import VerificationBin, read_bin
from facedistill.errors import DataError
from facedistill.evaluation.folds import FOLDS, contiguous_folds, hold_both_classes, stratified_folds


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Pairs of images, each genuine (one person) or impostor (two).

    Args:
        name: what to call it in a table.
        dataset: the images that `pairs` points into.
        pairs: (P, 2) int64 indices into `dataset`.
        same: (P,) bool, whether the pair is genuine.
        folds: (P,) int64, the fold of each pair.
        fold_scheme: where the folds come from, in words, for the report.
        source: the list or `.bin` file.
        source_sha256: its SHA-256, as hex; two copies of one benchmark need not be equal.

    Raises:
        DataError: the arrays do not belong together, or a class has no pair.
    """

    name: str
    dataset: ImageSource
    pairs: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    folds: npt.NDArray[np.int64]
    fold_scheme: str
    source: Path | None = None
    source_sha256: str | None = None

    @property
    def used(self) -> npt.NDArray[np.int64]:
        """The images that the pairs point to, each once."""
        return np.unique(self.pairs)

    def __post_init__(self) -> None:
        check_pairs(self.pairs, self.same, self.folds, images=len(self.dataset), place=self.source or self.name)


def check_pairs(
    pairs: npt.NDArray[np.int64],
    same: npt.NDArray[np.bool_],
    folds: npt.NDArray[np.int64],
    *,
    images: int,
    place: object,
) -> None:
    """Raise DataError unless the arrays belong together and hold what the protocol needs."""
    if pairs.ndim != 2 or pairs.shape[1] != 2 or same.shape != (len(pairs),) or folds.shape != (len(pairs),):
        raise DataError(
            f"pairs {pairs.shape}, flags {same.shape} and folds {folds.shape} do not belong together", place=place
        )
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= images):
        raise DataError(f"a pair points outside the {images} images", place=place)
    genuine = int(np.count_nonzero(same))
    if genuine in (0, len(same)):
        raise DataError(
            f"it holds {genuine} genuine and {len(same) - genuine} impostor pairs, and both kinds are needed",
            place=place,
        )
    if not all(
        0 < np.count_nonzero(same[folds != fold]) < np.count_nonzero(folds != fold) for fold in np.unique(folds)
    ):
        raise DataError(
            "one fold holds every genuine or every impostor pair, and the others must have both to pick a threshold on",
            place=place,
            next_step="Leave the folds out to have them made",
        )


def load_bin_benchmark(path: Path) -> Benchmark:
    """A `.bin` file as a benchmark, under insightface's protocol of 10 contiguous folds.

    Folds are stratified instead where a contiguous one would hold a single class. Images that occur in several pairs
    are embedded once.

    Raises:
        DataError: see `read_bin`; or a class has too few pairs.
    """
    content = read_bin(path)
    folds, scheme = _bin_folds(content)
    return Benchmark(path.stem, content, _first_occurrences(content), content.same, folds, scheme, path, content.sha256)


def _bin_folds(content: VerificationBin) -> tuple[npt.NDArray[np.int64], str]:
    if len(content.same) >= FOLDS:
        folds = contiguous_folds(len(content.same))
        if hold_both_classes(content.same, folds):
            return folds, f"{FOLDS} contiguous folds"
    return made_folds(content.same, place=content.path)


def made_folds(same: npt.NDArray[np.bool_], *, place: object) -> tuple[npt.NDArray[np.int64], str]:
    """Stratified folds for pairs that bring none, and their description; DataError where a class has too few."""
    try:
        folds = stratified_folds(same)
    except DataError as error:
        raise DataError(error.cause, place=place, next_step=error.next_step) from error
    return folds, f"{folds.max() + 1} stratified folds"


def _first_occurrences(content: VerificationBin) -> npt.NDArray[np.int64]:
    """The file's pairs with each image replaced by the first one of the same bytes."""
    first: dict[bytes, int] = {}
    indices = [first.setdefault(encoded, index) for index, encoded in enumerate(content.images)]
    return np.array(indices, dtype=np.int64).reshape(-1, 2)
