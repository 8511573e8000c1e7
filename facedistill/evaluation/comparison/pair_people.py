"""The people of a pair list's images, where they can be told."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from facedistill.data.image_source import ImageSource
from facedistill.data.subset import Subset
from facedistill.evaluation.judged_pairs import JudgedPairs


def people_of_judged(judged: JudgedPairs) -> npt.NDArray[np.int64] | None:
    """`people_of_pairs` of pairs that were judged; None where their images are not at hand either."""
    return None if judged.images is None else people_of_pairs(judged.images, judged.pairs, judged.same)


def people_of_pairs(
    images: ImageSource, pairs: npt.NDArray[np.int64], same: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64] | None:
    """(P, 2) int64 person of each image, or None where the images do not tell.

    A part of a labelled data set has its labels, and in a folder of one sub-folder a person the images' sub-folders
    tell. Whether these are people is seen by the flags: each genuine pair has to be of one, each impostor pair of two.
    A `.bin` file has no names: what its genuine pairs join may still be one person with another.

    Args:
        images: what the pairs point into.
        pairs: (P, 2) indices.
        same: (P,) whether the pair is genuine.
    """
    if isinstance(images, Subset):
        people = np.asarray(images.labels)[pairs]
    else:
        used, positions = np.unique(pairs, return_inverse=True)
        folders = [PurePosixPath(images.key(int(index))).parent.as_posix() for index in used]
        people = np.unique(folders, return_inverse=True)[1][positions].reshape(-1, 2)
    if not np.array_equal(people[:, 0] == people[:, 1], same):
        return None
    return people.astype(np.int64)
