"""What an inspection looks at: a folder as it lies, or any data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.data.image_files import ImageFiles
from facedistill.data.image_source import ImageSource
from facedistill.data.images import IMAGE_SUFFIXES, FolderScan, scan_folder
from facedistill.data.open_dataset import dataset_files, open_dataset
from facedistill.data.verification_bin import VerificationBin
from facedistill.errors import DataError, UsageError
from facedistill.shown_name import shown_name

NO_IDENTITY = -1
"""The label of an image that lies in the inspected folder itself."""


@dataclass(frozen=True, eq=False)
class Contents:
    """Images to inspect, and what is known of them before one of them is read.

    Attributes:
        place: what was opened, for titles and messages.
        images: the N images.
        labels: (N,) int64 index into `identities`, or `NO_IDENTITY`.
        identities: names; of a folder in order, of a data set by its labels.
        ordered: whether the order of the labels says something: in a `.rec`, in shards and lists it does.
        pair_set: whether it is a set of pairs, in which an image may stand several times.
        folder: the one folder that was opened as it lies, None for every other data set; with it come the following.
        other_files: how many files of each other suffix lie there.
        outside_links: symbolic links that lead out of the folder; they are not followed.
    """

    place: str
    images: ImageSource
    labels: npt.NDArray[np.int64]
    identities: tuple[str, ...]
    ordered: bool = False
    pair_set: bool = False
    folder: Path | None = None
    other_files: dict[str, int] = field(default_factory=dict)
    outside_links: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


def open_contents(paths: Path | Sequence[Path], *, note: Callable[[str], None] | None = None) -> Contents:
    """What is at `paths`: a folder of images as it lies, with all its faults, or whatever `open_dataset` opens.

    Args:
        paths: one path, or the several roots of one data set.
        note: told what was assumed.

    Raises:
        UsageError: there is nothing there.
        DataError: it is no data set, or holds no images.
    """
    listed = [paths] if isinstance(paths, Path) else list(paths)
    if len(listed) == 1 and listed[0].is_dir() and not dataset_files(listed[0]):
        return folder_contents(listed[0])
    dataset = open_dataset(listed, note=note)
    # Within folders the images are sorted by name.
    ordered = not all(path.is_dir() for path in listed) or any(path.is_dir() and dataset_files(path) for path in listed)
    return dataset_contents(dataset, ", ".join(map(str, listed)), ordered=ordered)


def folder_contents(folder: Path) -> Contents:
    """The images below `folder`, of any depth; an image's identity is the folder that it lies in.

    Raises:
        UsageError: there is no such folder.
        DataError: it is a file, or holds no images.
    """
    if not folder.exists():
        raise UsageError("there is no such folder", place=folder)
    if not folder.is_dir():
        raise DataError("this is a file, not a folder of face crops", place=folder)
    return _folder_contents(folder, scan_folder(folder))


def dataset_contents(dataset: FaceDataset, place: str, *, ordered: bool = True) -> Contents:
    """The images of a data set, whose labels are taken as they stand; `place` names it."""
    pair_set = isinstance(dataset, VerificationBin)
    return Contents(
        place=place,
        images=dataset,
        labels=np.asarray(dataset.labels, dtype=np.int64),
        identities=tuple(dataset.identities),
        # The people of a pair set are worked out from its pairs, which lie as they were drawn.
        ordered=ordered and not pair_set,
        pair_set=pair_set,
    )


def _folder_contents(folder: Path, found: FolderScan) -> Contents:
    if not found.images:
        raise _no_images(folder, found)
    owners = [name.rpartition("/")[0] for name in found.images]
    identities = tuple(sorted(set(owners) - {""}))
    label_of = {identity: label for label, identity in enumerate(identities)} | {"": NO_IDENTITY}
    return Contents(
        place=str(folder),
        images=ImageFiles(folder, found.images),
        labels=np.array([label_of[owner] for owner in owners], dtype=np.int64),
        identities=identities,
        folder=folder,
        other_files={suffix or "no suffix": count for suffix, count in found.ignored.items()},
        outside_links=tuple(found.outside_links),
    )


def _no_images(folder: Path, found: FolderScan) -> DataError:
    cause = "the folder holds no images"
    if found.ignored:
        suffixes = [f"{count} {shown_name(suffix) or 'without a suffix'}" for suffix, count in found.ignored.items()]
        cause += f", only other files ({', '.join(suffixes)})"
    next_step = f"Images are {', '.join(sorted(IMAGE_SUFFIXES))}, one sub-folder a person"
    if found.outside_links:
        count = len(found.outside_links)
        leads = "symbolic link leads out of it and is" if count == 1 else "symbolic links lead out of it and are"
        cause += f"; {count} {leads} not followed, such as {shown_name(found.outside_links[0])}"
        next_step = "Copy the images themselves into it, one sub-folder a person"
    return DataError(cause, place=folder, next_step=next_step)
