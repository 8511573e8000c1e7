"""Image files under one folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.images import decode_image, read_encoded
from facedistill.data.name_table import NameTable


class ImageFiles:
    """Image files under one root, as an `ImageSource`.

    Args:
        root: what the names are relative to.
        names: the N files, with forward slashes; they are the keys. Absolute ones are taken as they are.
    """

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = Path(root)
        self.names = NameTable(names)
        self._root = str(root)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.root / self.names[index]

    def encoded(self, index: int) -> bytes:
        """The bytes of the file; DataError where it cannot be read."""
        return read_encoded(self._place(index))

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; DataError where the file is corrupt."""
        place = self._place(index)
        return decode_image(read_encoded(place), place=place)

    def key(self, index: int) -> str:
        """The file's path relative to the root, with forward slashes."""
        return self.names[index]

    def _place(self, index: int) -> str:
        """The same as `path` as text, in a tenth of the time."""
        return os.path.join(self._root, self.names[index])  # noqa: PTH118
