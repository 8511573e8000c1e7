"""Face crops in tar shards of WebDataset's convention, read at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.images import decode_image
from facedistill.data.shards.files import ShardFiles
from facedistill.data.shards.index import spelled
from facedistill.data.shards.index_file import read_shard_index
from facedistill.data.shards.paths import find_shards
from facedistill.data.shards.scan import scan_shards
from facedistill.shown_name import shown_name


class ShardDataset:
    """Samples `KEY.jpg` with `KEY.cls`, `KEY.json` or a folder in their key; see `scan_shards` for the convention.

    The identities bear the names of the folders where folders and labels belong together one to one, else the labels
    as text. Labels count from 0 in the order of the stored numbers, or of the names where they are not all numbers.

    Reading shard by shard is what a disk likes best: `shard_order` gives such an order of the images, from `shards`.

    Args:
        source: a `.tar` file, a folder of them, several of either, or `faces-{000000..000012}.tar`. Tars are opened
            with the index that `write_shards` left beside them where it fits, and are scanned otherwise.
        progress: called with (tars done, tars in all) while they are scanned.

    Raises:
        DataError: see `find_shards` and `scan_shards`.
    """

    def __init__(
        self, source: str | Path | Sequence[str | Path], *, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.paths = find_shards(source)
        self._files = ShardFiles(self.paths)
        self._index = read_shard_index(self.paths) or scan_shards(self.paths, progress=progress)
        self.identities = self._index.identities
        self.fingerprint = self._index.fingerprint()

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the identity of each image."""
        return self._index.labels

    @property
    def shards(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the number in `paths` of the tar file that each image lies in; it never falls."""
        return self._index.shards

    def __len__(self) -> int:
        return len(self._index)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; DataError where it cannot be read or decoded."""
        path = spelled(self.paths[self._index.shards[index]])
        return decode_image(self.encoded(index), place=f"{path}, {shown_name(self.key(index))}")

    def encoded(self, index: int) -> bytes:
        """The bytes of the member; DataError where they cannot be read."""
        found = self._index
        return self._files.read(int(found.shards[index]), int(found.offsets[index]), int(found.lengths[index]))

    def key(self, index: int) -> str:
        """The sample's key with the suffix of its image, such as anna/1.jpg."""
        return self._index.key(index)
