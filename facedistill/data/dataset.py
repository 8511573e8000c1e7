"""The one protocol that every source of faces implements."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from facedistill.data.image_source import ImageSource


@runtime_checkable
class FaceDataset(ImageSource, Protocol):
    """Indexed face crops with an identity and a stable key each.

    Augmentation and normalisation live outside it, on the batch and on the device.

    """

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the identity of each image, 0 .. len(identities) - 1."""
        ...

    @property
    def identities(self) -> list[str]:
        """The identities' names, by label."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hex digest that changes when the images, their order or their labels do."""
        ...
