"""Open the data sets of an identification test: people by folder or by file name, and distractors, who are nobody."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from facedistill.data.dataset import FaceDataset
from facedistill.data.folder import LabelledFiles
from facedistill.data.images import image_names
from facedistill.data.open_dataset import dataset_files, open_dataset
from facedistill.errors import DataError
from facedistill.shown_name import shown_name

# TinyFace's files begin with the person's number (12_3.jpg); LFW's with the name, and end with the photo's number.
_NUMBER_FIRST = re.compile(r"([0-9]+)_")
_NUMBER_LAST = re.compile(r"(.+)_[0-9]+")


def open_people(path: Path) -> FaceDataset:
    """A gallery or probes: whatever `open_dataset` opens, or a folder of images whose names tell the person.

    In such a folder an image is called `12_3.jpg` (person 12; TinyFace's `Gallery_Match` and `Probe`) or
    `Ann_Lee_0001.jpg` (person `Ann_Lee`).

    Raises:
        UsageError: there is nothing at the path.
        DataError: it is no data set, or names of such a folder tell no person.
    """
    names = _folder_images(path)
    if not names or any("/" in name for name in names):
        return open_dataset(path)
    owners = [_person(name) for name in names]
    unknown = [name for name, owner in zip(names, owners, strict=True) if owner is None]
    if unknown:
        shown = ", ".join(shown_name(name) for name in unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise DataError(
            f"the names of {len(unknown)} of its {len(names)} images tell no person: {shown}",
            place=path,
            next_step="Call them 12_3.jpg or Ann_Lee_0001.jpg, or put the images of each person into a sub-folder",
        )
    return LabelledFiles(path, names, [owner for owner in owners if owner is not None])


def open_distractors(path: Path) -> FaceDataset:
    """Images of people who are looked for by nobody, all under one name: MegaFace's, TinyFace's `Gallery_Distractor`.

    A folder may hold them itself or in sub-folders of any depth; other data sets are opened by `open_dataset`.

    Raises:
        UsageError: there is nothing at the path.
        DataError: it holds no images.
    """
    names = _folder_images(path)
    return LabelledFiles(path, names, ["distractors"] * len(names)) if names else open_dataset(path)


def _folder_images(path: Path) -> list[str]:
    """The images below a folder; none where the path is something else than a folder of images."""
    return image_names(path) if path.is_dir() and not dataset_files(path) else []


def _person(name: str) -> str | None:
    stem = PurePosixPath(name).stem
    found = _NUMBER_FIRST.match(stem) or _NUMBER_LAST.fullmatch(stem)
    return None if found is None else found[1]
