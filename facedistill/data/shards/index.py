"""What is known of the images of a set of shards: where each lies, its key and its identity, in compact arrays."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.shown_name import shown_name


def spelled(path: Path) -> str:
    """A path as messages show it: its name may come from data."""
    return shown_name(str(path))


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """N images in the order of the shards and of the members of each.

    Args:
        shards: (N,) int64, the number of the tar file, never falling.
        offsets: (N,) int64, where the bytes of the image start in it.
        lengths: (N,) int64, how many they are.
        labels: (N,) int64, 0 .. C - 1, each of which occurs.
        key_ends: (N,) int64, where the key ends in `key_text`.
        key_text: (K,) uint8, the keys one after the other in UTF-8.
        identities: C names.
    """

    shards: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    key_ends: npt.NDArray[np.int64]
    key_text: npt.NDArray[np.uint8]
    identities: list[str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.shards)

    def key(self, index: int) -> str:
        """The key of image `index`, counted from the end where it is negative."""
        index = range(len(self))[index]
        start = self.key_ends[index - 1] if index else 0
        return self.key_text[start : self.key_ends[index]].tobytes().decode(errors="surrogateescape")

    def fingerprint(self) -> str:
        """SHA-256 over the keys, lengths, labels and identities, as hex; the places in the files do not count."""
        digest = hashlib.sha256()
        for values in (self.lengths, self.labels, self.key_ends):
            digest.update(values.astype("<i8").tobytes())
        digest.update(self.key_text.tobytes())
        digest.update("\0".join(self.identities).encode(errors="surrogateescape"))
        return digest.hexdigest()


class ShardIndexBuilder:
    """Collects samples and makes an index of them.

    Args:
        paths: the tar files, for messages.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._shards, self._offsets, self._lengths = array("q"), array("q"), array("q")
        self._label_codes, self._folder_codes = array("q"), array("q")
        self._key_ends, self._key_text = array("q"), bytearray()
        # Each name once: there are fewer identities than images.
        self._labels: dict[str, int] = {}
        self._folders: dict[str, int] = {}

    def add(self, shard: int, key: str, offset: int, length: int, label: str | None) -> None:
        """Add an image.

        Args:
            shard: the number of its tar file.
            key: its key with the suffix.
            offset: where its bytes start.
            length: how many they are.
            label: what its label member says, None where it has none.
        """
        folder = key.rpartition("/")[0]
        self._shards.append(shard)
        self._offsets.append(offset)
        self._lengths.append(length)
        self._folder_codes.append(self._folders.setdefault(folder, len(self._folders)))
        self._label_codes.append(-1 if label is None else self._labels.setdefault(label, len(self._labels)))
        self._key_text += key.encode(errors="surrogateescape")
        self._key_ends.append(len(self._key_text))

    def finish(self) -> ShardIndex:
        """The index.

        Raises:
            DataError: there is no image, or an image has neither label nor folder, or only some have labels.
        """
        if not self._shards:
            raise DataError(
                "the tar file holds no images" if len(self._paths) == 1 else "the tar files hold no images",
                place=spelled(self._paths[0]),
                next_step="Expected: members KEY.jpg and KEY.cls",
            )
        folders, label_codes = _int64(self._folder_codes), _int64(self._label_codes)
        labels, identities = self._identities(folders, label_codes)
        return ShardIndex(
            _int64(self._shards),
            _int64(self._offsets),
            _int64(self._lengths),
            labels,
            _int64(self._key_ends),
            np.frombuffer(bytes(self._key_text), dtype=np.uint8),
            identities,
        )

    def _identities(
        self, folders: npt.NDArray[np.int64], label_codes: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], list[str]]:
        folder_names, label_names = list(self._folders), list(self._labels)
        if not label_names:
            if "" in self._folders:
                self._refuse(int(np.argmax(folders == self._folders[""])), "has neither a label nor a folder")
            return _dense(folders, folder_names, folder_names)
        if label_codes.min() < 0:
            self._refuse(int(np.argmin(label_codes)), "has no label, while others have one")
        # One to one: as many different pairs as there are folders, and as labels.
        pairs = np.unique(folders * len(label_names) + label_codes)
        if len(pairs) == len(folder_names) == len(label_names) and "" not in self._folders:
            name_of = dict(zip((pairs % len(label_names)).tolist(), (pairs // len(label_names)).tolist(), strict=True))
            names = [folder_names[name_of[code]] for code in range(len(label_names))]
        else:
            names = label_names
        if all(label.isdecimal() and label.isascii() for label in label_names):
            label_names = [label.zfill(20) for label in label_names]  # sorted as numbers: none is longer
        return _dense(label_codes, label_names, names)

    def _refuse(self, index: int, what: str) -> None:
        start = self._key_ends[index - 1] if index else 0
        key = self._key_text[start : self._key_ends[index]].decode(errors="surrogateescape")
        raise DataError(
            f"the sample '{shown_name(key)}' {what}",
            place=spelled(self._paths[self._shards[index]]),
            next_step="Expected: KEY.cls or KEY.json beside each KEY.jpg, or a folder of its person in each key",
        )


def _dense(
    codes: npt.NDArray[np.int64], spellings: list[str], names: list[str]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Labels in the order of their spellings, and their names."""
    order = sorted(range(len(spellings)), key=lambda code: spellings[code])
    label_of = np.empty(len(order), dtype=np.int64)
    label_of[order] = np.arange(len(order))
    return label_of[codes], [names[code] for code in order]


def _int64(values: array[int]) -> npt.NDArray[np.int64]:
    return np.frombuffer(values.tobytes(), dtype=np.int64)
