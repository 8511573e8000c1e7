"""A folder with one sub-folder of face crops for each identity."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.image_files import ImageFiles
from facedistill.data.images import image_names
from facedistill.errors import DataError


class LabelledFiles(ImageFiles):
    """Image files under one root, each with an identity, as a `FaceDataset`.

    Args:
        root: what the names are relative to.
        names: the N files, with forward slashes; they are the keys.
        owners: the identity of each.
    """

    def __init__(self, root: Path, names: list[str], owners: list[str]) -> None:
        super().__init__(root, names)
        self.identities: list[str] = sorted(set(owners))
        label_of = {name: label for label, name in enumerate(self.identities)}
        self.labels: npt.NDArray[np.int64] = np.array([label_of[owner] for owner in owners], dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Of the files' names, sizes and identities; their content is not read."""
        digest = hashlib.sha256()
        for index, name in enumerate(self.names):
            path = self.root / name
            size = path.stat().st_size if path.exists() else -1
            line = f"{name}\0{size}\0{self.identities[self.labels[index]]}\0"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()


class FolderDataset(LabelledFiles):
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
