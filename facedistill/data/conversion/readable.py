"""The images of a data set that can be copied, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from facedistill.data.conversion.stored_bytes import stored_bytes
from facedistill.data.dataset import FaceDataset
from facedistill.data.subset import Subset
from facedistill.errors import DataError
from facedistill.shown_name import printable, shown_name

Skipped = tuple[tuple[str, str], ...]
"""Key and reason of each image that is left out."""


def readable_part(
    dataset: FaceDataset,
    *,
    decode: bool,
    strict: bool,
    progress: Callable[[int, int], None] | None,
    place: object,
) -> tuple[FaceDataset, Skipped]:
    """The images that can be read, and key and reason of the others.

    Args:
        dataset: any data set.
        decode: ask that they can be decoded, too.
        strict: raise the error of an image instead of leaving it out.
        progress: told the images done and to do.
        place: what is to be written, for the message where nothing can be.

    Raises:
        DataError: no image can be read, or, with `strict`, one cannot.
    """
    kept: list[int] = []
    skipped: list[tuple[str, str]] = []
    for index in range(len(dataset)):
        try:
            stored_bytes(dataset, index)
            if decode:
                dataset.image(index)
            kept.append(index)
        except DataError as error:
            if strict:
                raise
            skipped.append((dataset.key(index), error.cause))
        if progress is not None:
            progress(index + 1, len(dataset))
    if not kept:
        what = none_of(len(dataset), "read and decoded" if decode else "read")
        raise nothing_readable(what, *skipped[0], place)
    return (Subset(dataset, np.array(kept, dtype=np.int64)) if skipped else dataset), tuple(skipped)


def none_of(count: int, what: str) -> str:
    """That not one of `count` images can be read, or `what` else."""
    return f"the only image cannot be {what}" if count == 1 else f"none of the {count} images can be {what}"


def nothing_readable(what: str, key: str, reason: str, place: object) -> DataError:
    """The error where no image is left: with the first one's reason, which the others mostly share."""
    return DataError(
        f"{what}; {shown_name(key)}: {printable(reason)}",
        place=place,
        next_step="Copy the data set again if its files are damaged; facedistill inspect looks at each of them",
    )


class WatchedDataset:
    """A data set that remembers which image could not be read, so that such an error is told from one of writing.

    Args:
        dataset: any data set.
    """

    def __init__(self, dataset: FaceDataset) -> None:
        self._dataset = dataset
        self.labels = dataset.labels
        self.identities = dataset.identities
        self.failed: int | None = None

    @property
    def fingerprint(self) -> str:
        """That of the data set itself."""
        return self._dataset.fingerprint

    def __len__(self) -> int:
        return len(self._dataset)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; DataError where it is corrupt."""
        return self._dataset.image(index)

    def encoded(self, index: int) -> bytes:
        """Its bytes as they are stored; DataError where they cannot be read or there are none."""
        try:
            return stored_bytes(self._dataset, index)
        except DataError:
            self.failed = index
            raise

    def key(self, index: int) -> str:
        """Its key."""
        return self._dataset.key(index)
