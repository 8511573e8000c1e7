"""A folder with one sub-folder of face crops for each identity."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.images import find_images, read_encoded, read_image
from facedistill.errors import DataError


class FolderDataset:
    """Crops kept as `folder/identity/image.jpg`; an identity is the folder an image lies in.

    Args:
        folder: the root; deeper trees are fine, the identity is then the path of the image's folder.
        identities: keep only these people, None for all.

    Raises:
        DataError: the folder is missing or empty, images lie in no sub-folder, or none of `identities` is found.
    """

    def __init__(self, folder: Path, identities: Collection[str] | None = None) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError("there is no such folder of face crops", place=self.folder)
        found = find_images(self.folder)
        if not found:
            raise DataError(
                "the folder holds no images",
                place=self.folder,
                next_step="Expected: one sub-folder a person, with crops",
            )
        names = [path.parent.relative_to(self.folder).as_posix() for path in found]
        if set(names) == {"."}:
            raise DataError(
                "the images lie in the folder itself, so nothing says who is who",
                place=self.folder,
                next_step="Put the images of each person into a sub-folder of their own",
            )
        kept = [(path, name) for path, name in zip(found, names, strict=True) if name != "."]
        if identities is not None:
            kept = [(path, name) for path, name in kept if name in identities]
            if not kept:
                raise DataError(
                    f"none of the {len(identities)} listed identities has images here",
                    place=self.folder,
                    next_step=f"Listed: {min(identities)}, ...; found here: {names[0]}, ...",
                )
        self.paths = [path for path, _ in kept]
        self.identities = sorted({name for _, name in kept})
        label_of = {name: label for label, name in enumerate(self.identities)}
        self.labels: npt.NDArray[np.int64] = np.array([label_of[name] for _, name in kept], dtype=np.int64)
        digest = hashlib.sha256()
        for path in self.paths:
            line = f"{path.relative_to(self.folder).as_posix()}\0{path.stat().st_size}\0"
            digest.update(line.encode(errors="surrogateescape"))
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; DataError where the file is corrupt."""
        return read_image(self.paths[index])

    def encoded(self, index: int) -> bytes:
        """The bytes of the file; DataError where it cannot be read."""
        return read_encoded(self.paths[index])

    def key(self, index: int) -> str:
        """The image's path relative to the folder, with forward slashes."""
        return self.paths[index].relative_to(self.folder).as_posix()
