"""Find the images that a pair list names: files of a folder, or images of a data set by their keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from facedistill.data.dataset import FaceDataset
from facedistill.data.image_files import ImageFiles
from facedistill.data.images import IMAGE_SUFFIXES
from facedistill.data.subset import Subset
from facedistill.evaluation.pairs_text import without_suffix
from facedistill.shown_name import shown_name


@dataclass
class FolderLookup:
    """Looks images up below a folder, with any suffix, reading each directory once."""

    root: Path
    _stems: dict[str, dict[str, str]] = field(default_factory=dict)

    def find(self, wanted: str) -> str | None:
        """The relative path of `wanted`: itself, or its stem with an image suffix."""
        path = PurePosixPath(wanted)
        has_suffix = path.suffix.lower() in IMAGE_SUFFIXES
        if has_suffix and (self.root / path).is_file():
            return wanted
        if has_suffix:
            path = path.with_suffix("")
        # Names of LFW's format hold the person, so they are found in a flat folder, too; `a/1.jpg` of a CSV is not.
        for parent in (path.parent.as_posix(),) if has_suffix else (path.parent.as_posix(), "."):
            name = self._directory(parent).get(path.name)
            if name is not None:
                return (PurePosixPath(parent) / name).as_posix()
        return None

    def _directory(self, parent: str) -> dict[str, str]:
        """Stem -> file name of the images in a directory below the root."""
        if parent not in self._stems:
            directory = self.root / parent
            files = sorted(directory.iterdir(), reverse=True) if directory.is_dir() else []
            self._stems[parent] = {file.stem: file.name for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
        return self._stems[parent]

    def describe(self, wanted: str) -> str:
        """What was looked for, for a message."""
        return f"Looked in {self.root} for {wanted} with {', '.join(sorted(IMAGE_SUFFIXES))}"

    def images(self, found: list[str]) -> ImageFiles:
        """What `find` gave, as a source of images."""
        return ImageFiles(self.root, tuple(found))


class KeyLookup:
    """Looks images up in a data set by their keys, with or without an image suffix."""

    def __init__(self, source: FaceDataset) -> None:
        self.source = source
        self._keys: dict[str, int] = {}
        self._stems: dict[str, int] = {}
        # From the last to the first, so that of equal names the first image is found, as in a folder.
        for index in reversed(range(len(source))):
            key = source.key(index)
            self._keys[key] = index
            self._stems[without_suffix(key)] = index

    def find(self, wanted: str) -> int | None:
        """The image whose key is `wanted`, or is so but for the suffix."""
        index = self._keys.get(wanted)
        if index is None:
            index = self._stems.get(without_suffix(wanted))
        if index is None and without_suffix(wanted) == wanted:  # a name of LFW's format, in a flat data set
            index = self._stems.get(wanted.rpartition("/")[2])
        return index

    def describe(self, wanted: str) -> str:
        """What was looked for, for a message."""
        return f"Looked for {wanted} among {len(self.source)} images such as {shown_name(self.source.key(0))}"

    def images(self, found: list[int]) -> Subset:
        """What `find` gave, as a source of images."""
        return Subset(self.source, np.array(found, dtype=np.int64))
