"""Face data sets in MXNet's RecordIO files, as insightface publishes them and im2rec makes them, without mxnet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.images import decode_image
from facedistill.data.records.header import LARGEST_EXACT, check_whole, read_headers, unpack_content
from facedistill.data.records.index import RecordIndex, read_index, scan_index
from facedistill.data.records.names import ImageNames, read_names
from facedistill.data.records.ranges import identity_ranges, identity_rows, owners
from facedistill.data.records.recordio import RecordFile, RecordPlace
from facedistill.errors import DataError
from facedistill.shown_name import shown_name

# Identities of which one image is looked at, to see whether classes are the places of the identity records.
SAMPLE = 64

Integers = npt.NDArray[np.int64]


class RecDataset:
    """The images of a `.rec` file in the order of their record keys, as a `FaceDataset`.

    Two layouts are read. In insightface's, record 0 has no image and two labels: the key of the first identity record
    and one past the last. The images have the keys before these, and each identity record gives the range of its
    images' keys, so that opening touches identity records and a few images only. In mxnet's plain layout every record
    is an image, and opening reads all headers. Either way the class of an image is the first label in its header.

    Ranges are float32 and so not exact beyond 16,777,216. An image that lies beside such an end, in no range or in two
    takes the class of its own header.

    Beside the `.rec`, with the same stem, may lie an `.idx` with the records' places (without it the file is scanned),
    and a `.lst`, whose paths then are the images' keys and whose folders are the identities' names. Without it the
    keys are the record keys with 8 digits, and the names are the classes' numbers.

    Args:
        path: the `.rec` file.
        note: told what is strange but does no harm: a `property` file with another number of classes, images missing
            in the index, a list that does not fit.

    Attributes:
        path: as above.
        labels: (N,) int64, the classes counted from 0 without gaps, in the order of their numbers.
        identities: their names, by label.
        fingerprint: SHA-256, as hex, of the file's size, the records' keys and places, the labels and the names. It
            does not read the images, so it does not notice other pixels in exactly as many bytes everywhere.

    Raises:
        DataError: a file is missing, damaged or does not fit the other, or a label is not a whole number from 0 to
            16,777,216.

    Sources: insightface, recognition/ArcFace/image_iter.py and src/data/face2rec2.py; mxnet,
    python/mxnet/recordio.py.
    """

    def __init__(self, path: Path, *, note: Callable[[str], None] | None = None) -> None:
        self.path = Path(path)
        index_path = self.path.with_suffix(".idx")
        self._records = RecordFile(self.path, index_path if index_path.exists() else None)
        index = read_index(index_path, self._records) if self._records.index else scan_index(self._records)
        notes: list[str] = []
        keys, self._offsets, classes = self._images(index, notes)
        known, labels = np.unique(classes, return_inverse=True)
        self.labels: npt.NDArray[np.int64] = labels.reshape(-1).astype(np.int64, copy=False)
        self._classes = known
        self._names = self._listed_names(keys, classes, notes)
        names = None if self._names is None else self._names.identities
        self.identities: list[str] = [str(number) for number in known] if names is None else names
        # Consecutive keys are as good as a range, which takes no memory.
        consecutive = int(keys[-1]) - int(keys[0]) == len(keys) - 1
        self._keys: Integers | range = range(int(keys[0]), int(keys[-1]) + 1) if consecutive else keys
        self.fingerprint = self._digest(keys)
        self._check_property(notes)
        # Pages of the headers read so far need not count as memory of this process.
        self._records.release()
        if note is not None:
            for text in notes:
                note(f"{self.path}: {text}")

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; DataError as in `encoded`, or where it cannot be decoded."""
        return decode_image(self.encoded(index), place=self._place(index))

    def encoded(self, index: int) -> bytes:
        """The image as it is stored.

        Raises:
            DataError: its record is damaged or holds no image, or its header gives another class than the one that
                `labels` was made from.
        """
        place = self._place(index)
        payload = self._records.payload(int(self._offsets[index]), place.key)
        content = unpack_content(payload, place)
        expected = self._classes[self.labels[index]]
        if content.labels[0] != expected:
            raise DataError(
                f"its header says class {content.labels[0]:g}, but it is listed among the images of class {expected}",
                place=place,
                next_step="The record is damaged, or the .idx belongs to another file",
            )
        if not content.image:
            raise DataError("the record holds no image", place=place)
        return content.image

    def key(self, index: int) -> str:
        """The image's path in the `.lst`; without one the record's key, with 8 digits."""
        return f"{self._keys[index]:08d}" if self._names is None else self._names[index]

    def _place(self, index: int) -> RecordPlace:
        return RecordPlace(self.path, int(self._keys[index]))

    def _images(self, index: RecordIndex, notes: list[str]) -> tuple[Integers, Integers, Integers]:
        """Record keys, offsets and classes of the images, (N,) int64 each."""
        if index.keys[0] == 0:
            head = read_headers(self._records, index.keys[:1], index.offsets[:1])
            if head.is_range[0]:
                rows = identity_rows(self._records, index, head.labels[0])
                keys, offsets = index.keys[1 : rows.start], index.offsets[1 : rows.start]
                if not len(keys):
                    raise DataError(
                        "the file holds identities but no images",
                        place=self.path,
                        next_step="It is damaged, or its .idx is; copy or download both again",
                    )
                missing = int(index.keys[rows.start]) - 1 - len(keys)
                if missing:
                    notes.append(f"{missing} of the images 1 to {index.keys[rows.start] - 1} are missing")
                return keys, offsets, self._classes_by_range(keys, offsets, identity_ranges(self._records, index, rows))
        headers = read_headers(self._records, index.keys, index.offsets)
        stray = np.flatnonzero(headers.is_range)
        if len(stray):
            raise DataError(
                "it is an identity record, but record 0, which says where these begin, is missing or none",
                place=RecordPlace(self.path, index.keys[stray[0]]),
                next_step="The .rec or its .idx is damaged; copy or download both again",
            )
        classes = check_whole(headers.labels[:, 0], index.keys, self._records, largest=LARGEST_EXACT)
        return index.keys, index.offsets, classes

    def _classes_by_range(self, keys: Integers, offsets: Integers, ranges: Integers) -> Integers:
        owner = owners(keys, ranges)
        # Where runs of one owner's images begin, and of these the first for each owner.
        begins = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
        begins = begins[owner[begins] >= 0]
        owning, first = np.unique(owner[begins], return_index=True)
        class_of_range = np.arange(len(ranges), dtype=np.int64)
        if len(owning):
            first_image = begins[first]
            sample = np.unique(np.linspace(0, len(owning) - 1, SAMPLE).astype(np.int64))
            # Reading an image of everybody takes long on a slow disk, and most files number their classes as they come.
            # Should the sample mislead, `encoded` refuses the images concerned.
            if (self._own_classes(keys, offsets, first_image[sample]) != owning[sample]).any():
                class_of_range[owning] = self._own_classes(keys, offsets, first_image)
        classes = class_of_range[owner]
        unsure = np.flatnonzero(owner < 0)
        classes[unsure] = self._own_classes(keys, offsets, unsure)
        return classes

    def _own_classes(self, keys: Integers, offsets: Integers, rows: Integers) -> Integers:
        headers = read_headers(self._records, keys[rows], offsets[rows])
        return check_whole(headers.labels[:, 0], keys[rows], self._records, largest=LARGEST_EXACT)

    def _listed_names(self, keys: Integers, classes: Integers, notes: list[str]) -> ImageNames | None:
        path = self.path.with_suffix(".lst")
        if not path.is_file():
            return None
        try:
            return read_names(path, keys, classes, self.labels)
        except DataError as error:
            # The images can be read without it, and insightface puts lists of another format under this name.
            notes.append(f"{path.name} is not used for names: {error.cause}")
            return None

    def _check_property(self, notes: list[str]) -> None:
        path = self.path.with_name("property")
        if not path.is_file():
            return
        try:
            first = path.read_bytes()[:100].split(b",")[0].strip()
        except OSError:
            return
        if first != b"%d" % len(self.identities):
            text = shown_name(first.decode(errors="backslashreplace"))
            notes.append(f"the file property says {text} classes, the records have {len(self.identities)}")

    def _digest(self, keys: Integers) -> str:
        digest = hashlib.sha256(f"{self._records.size}\0".encode())
        for numbers in (keys, self._offsets, self.labels):
            digest.update(np.ascontiguousarray(numbers, dtype="<i8").data)
        digest.update("\0".join(self.identities).encode(errors="surrogateescape"))
        return digest.hexdigest()
