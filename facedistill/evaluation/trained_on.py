"""Whether a benchmark's people were trained on, by their names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.data.identity_list import read_identities
from facedistill.data.image_source import ImageSource
from facedistill.data.open_dataset import open_dataset
from facedistill.shown_name import shown_name

_NAMED = 3


def read_people(data: Path) -> frozenset[str]:
    """The people of an identity list (.txt), or of any data set; errors as of `read_identities` and `open_dataset`."""
    if data.suffix == ".txt":
        return frozenset(read_identities(data))
    return frozenset(open_dataset(data).identities)


def names_of(images: ImageSource, used: npt.NDArray[np.int64]) -> frozenset[str] | None:
    """The names of the people on some of the images: of a data set its own, else of their folders; None of none.

    Args:
        images: a benchmark's.
        used: which of them.
    """
    if isinstance(images, FaceDataset):
        return frozenset(images.identities[label] for label in np.unique(images.labels[used]))
    folders = {PurePosixPath(images.key(index)).parent.name for index in used.tolist()}
    return None if folders <= {"", "."} else frozenset(folders)


def trained_on_warning(names: Collection[str] | None, trained: Collection[str]) -> list[str]:
    """A sentence where people of a benchmark were trained on, or where nothing tells who is in it."""
    if names is None:
        return ["the names of its people are not known, so that nobody can be looked for in the training data"]
    shared = sorted(set(names) & set(trained))
    if not shared:
        return []
    few = ", ".join(shown_name(name) for name in shared[:_NAMED]) + (", ..." if len(shared) > _NAMED else "")
    verb = "is" if len(shared) == 1 else "are"
    return [
        f"{len(shared)} of its {len(names)} people {verb} in the training data ({few}): the figures flatter the model"
    ]
