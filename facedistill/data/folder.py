"""A folder with one sub-folder of face crops for each identity."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.images import decode_image, image_names, read_encoded
from facedistill.data.name_table import NameTable
from facedistill.errors import DataError


class ImageFiles:
    """Image files under one root, each with an identity, as a `FaceDataset`.

    Args:
        root: what the names are relative to.
        names: the N files, with forward slashes; they are the keys.
        owners: the identity of each.
    """

    def __init__(self, root: Path, names: list[str], owners: list[str]) -> None:
        self.root = Path(root)
        self._root = f"{root}{os.sep}"
        self._names = NameTable(names)
        self.identities: list[str] = sorted(set(owners))
        label_of = {name: label for label, name in enumerate(self.identities)}
        self.labels: npt.NDArray[np.int64] = np.array([label_of[owner] for owner in owners], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._names)

    def path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.root / self._names[index]

    def encoded(self, index: int) -> bytes:
        """The bytes of the file; DataError where it cannot be read."""
        return read_encoded(self._root + self._names[index])

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; DataError where the file is corrupt."""
        path = self._root + self._names[index]
        return decode_image(read_encoded(path), place=path)

    def key(self, index: int) -> str:
        """The image's path relative to the root, with forward slashes."""
        return self._names[index]

    @cached_property
    def fingerprint(self) -> str:
        """Of the files' names, sizes and identities; their content is not read."""
        digest = hashlib.sha256()
        for index, name in enumerate(self._names):
            path = self.root / name
            size = path.stat().st_size if path.exists() else -1
            line = f"{name}\0{size}\0{self.identities[self.labels[index]]}\0"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()


class FolderDataset(ImageFiles):
    """Crops kept as `folder/identity/image.jpg`; an identity is the folder an image lies in.

    Args:
        folder: the root; deeper trees are fine, the identity is then the path of the image's folder.

    Raises:
        DataError: the folder is missing or empty, or images lie in no sub-folder.
    """

    def __init__(self, folder: Path) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise DataError("there is no such folder of face crops", place=folder)
        names = image_names(folder)
        if not names:
            raise DataError(
                "the folder holds no images",
                place=folder,
                next_step="Expected: one sub-folder a person, with crops",
            )
        kept = [name for name in names if "/" in name]
        if not kept:
            raise DataError(
                "the images lie in the folder itself, so nothing says who is who",
                place=folder,
                next_step="Put the images of each person into a sub-folder of their own",
            )
        super().__init__(folder, kept, [name.rpartition("/")[0] for name in kept])
