"""Photos whose landmarks are known, as aligned crops that are made when they are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.align.similarity import estimate_similarity, warp
from facedistill.align.template import template
from facedistill.data.image_files import ImageFiles
from facedistill.errors import DataError


class AlignedFiles(ImageFiles):
    """Image files under one root as crops on the ArcFace template, an `ImageSource`.

    `encoded` gives the file as it is stored, not the crop.

    Args:
        root: what the names are relative to.
        names: the N files; one photo may occur several times, with a face each.
        landmarks: (N, 5, 2) in pixels of the photos, x and y, in the order of `LANDMARK_NAMES`.
        size: height and width of the crops in pixels.
    """

    def __init__(self, root: Path, names: Iterable[str], landmarks: npt.NDArray[np.float64], size: int) -> None:
        super().__init__(root, names)
        self.landmarks = landmarks
        self.size = size
        self._template = template(size)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Crop `index` as (size, size, 3) uint8 RGB; DataError where the file is corrupt or the landmarks coincide."""
        photo = super().image(index)
        try:
            matrix = estimate_similarity(self.landmarks[index], self._template)
        except DataError as error:
            raise DataError(error.cause, place=self.path(index)) from error
        return warp(photo, matrix, self.size)
