"""A part of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cached_property

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.errors import DataError
from facedistill.shown_name import shown_name


class Subset:
    """Some images of another data set, as a `FaceDataset`; identities without images are left out.

    Args:
        dataset: where the images come from.
        indices: (M,) the images, in the order that they are to have.
    """

    def __init__(self, dataset: FaceDataset, indices: npt.NDArray[np.int64]) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64)
        present, labels = np.unique(dataset.labels[self.indices], return_inverse=True)
        self.labels: npt.NDArray[np.int64] = labels.astype(np.int64)
        self.identities = [dataset.identities[label] for label in present]

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` of the part as (H, W, 3) uint8 RGB; DataError where it is corrupt."""
        return self.dataset.image(int(self.indices[index]))

    def encoded(self, index: int) -> bytes:
        """Its bytes as they are stored; DataError where they cannot be read."""
        return self.dataset.encoded(int(self.indices[index]))

    def key(self, index: int) -> str:
        """The key that the image has in the whole."""
        return self.dataset.key(int(self.indices[index]))

    @cached_property
    def fingerprint(self) -> str:
        """Of the whole and of the choice."""
        return hashlib.sha256(self.dataset.fingerprint.encode() + self.indices.tobytes()).hexdigest()


def of_people(dataset: FaceDataset, identities: Collection[str]) -> Subset:
    """The images of some people only.

    Raises:
        DataError: none of them is in the data set.
    """
    wanted = np.array([name in identities for name in dataset.identities], dtype=np.bool_)
    if not wanted.any():
        raise DataError(
            f"none of the {len(identities)} listed identities has images here",
            next_step=f"Listed: {shown_name(min(identities))}, ...; found: {shown_name(dataset.identities[0])}, ...",
        )
    return Subset(dataset, np.flatnonzero(wanted[dataset.labels]))
