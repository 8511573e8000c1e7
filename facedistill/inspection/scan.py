"""One pass over the images of a data set: the facts of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.data.decoding import decode_ahead
from facedistill.data.image_header import FORMATS, image_format, stored_channels
from facedistill.data.image_source import ImageSource
from facedistill.data.images import decode_image
from facedistill.errors import DataError
from facedistill.inspection.contents import NO_IDENTITY, Contents
from facedistill.inspection.photo_hash import HASH_BYTES, VIEWS, hash_views, spectra
from facedistill.shown_name import shown_name

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

COLOURS = ("colour", "grey stored as RGB", "single channel")

# Mean difference of the channels, in levels, below which a picture counts as grey (ours): JPEG leaves some.
_GREY_DIFFERENCE = 1.0
# Images whose frequencies decide the medians of the hash (ours).
_MEDIAN_SAMPLE = 1000
_BATCH = 64


@dataclass(frozen=True)
class Scan:
    """The facts of N readable images; memory grows with N, by about 110 bytes an image beside its name.

    Attributes:
        source: where they can be read again.
        indices: (N,) int64, their indices there, ascending.
        names: their keys.
        labels: (N,) int64 index into `identities`, or `NO_IDENTITY`.
        identities: those that have readable images, in the order of the source's.
        sizes: (N, 2) int32, width and height in pixels.
        formats: (N,) int8 index into `FORMATS`, by content.
        colours: (N,) int8 index into `COLOURS`.
        byte_digests, pixel_digests: (N,) uint64 of the file and of its decoded pixels; among a million files two differ
            and share one with a chance below 1e-7.
        hashes: (N, views, 16) uint8, see `photo_hash`.
        hashed: (N,) bool, False for blank pictures.
        medians: (128,) float32 that the hashes rest on: only those of equal medians can be compared.
        unreadable: key and reason of each that is no whole image.
    """

    source: ImageSource
    indices: Indices
    names: tuple[str, ...]
    labels: Indices
    identities: tuple[str, ...]
    sizes: npt.NDArray[np.int32]
    formats: npt.NDArray[np.int8]
    colours: npt.NDArray[np.int8]
    byte_digests: npt.NDArray[np.uint64]
    pixel_digests: npt.NDArray[np.uint64]
    hashes: npt.NDArray[np.uint8]
    hashed: npt.NDArray[np.bool_]
    medians: Floats
    unreadable: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class _Facts:
    size: tuple[int, int]
    format: int
    colour: int
    byte_digest: int
    pixel_digest: int
    hashes: npt.NDArray[np.uint8] | None


def scan_images(
    contents: Contents,
    *,
    medians: Floats | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Read every image once (a sample of them twice).

    Args:
        contents: the images.
        medians: those of another scan, whose hashes these are to be compared with; None takes them from the images.
        workers: threads that decode.
        progress: called with (images done, images in all).

    Raises:
        DataError: there is none that is whole.
    """
    source = contents.images
    if medians is None:
        medians = _medians(source, workers)
    bounds = medians

    def facts(index: int) -> _Facts | str:
        return _facts(source, index, bounds)

    count = len(source)
    sizes, readable = np.zeros((count, 2), np.int32), np.zeros(count, np.bool_)
    formats, colours = np.zeros(count, np.int8), np.zeros(count, np.int8)
    digests = np.zeros((2, count), np.uint64)
    hashes, hashed = np.zeros((count, len(VIEWS), HASH_BYTES), np.uint8), np.zeros(count, np.bool_)
    unreadable = []
    batches = np.array_split(np.arange(count, dtype=np.int64), range(_BATCH, count, _BATCH))
    for indices, found in decode_ahead(batches, facts, workers=workers):
        for index, fact in zip(indices, found, strict=True):
            if isinstance(fact, str):
                unreadable.append((source.key(int(index)), fact))
                continue
            readable[index] = True
            sizes[index], formats[index], colours[index] = fact.size, fact.format, fact.colour
            digests[:, index] = fact.byte_digest, fact.pixel_digest
            if fact.hashes is not None:
                hashes[index], hashed[index] = fact.hashes, True
        if progress is not None:
            progress(int(indices[-1]) + 1, count)
    if not readable.any():
        name, reason = unreadable[0]
        cause = "the one image is not whole" if count == 1 else f"none of the {count} images is whole"
        raise DataError(
            f"{cause}: {shown_name(name)}: {reason}", place=contents.place, next_step="Fetch or make them again"
        )
    kept = np.flatnonzero(readable).astype(np.int64)
    labels, identities = _used_identities(contents.labels[kept], contents.identities)
    return Scan(
        source=source,
        indices=kept,
        names=tuple(source.key(int(index)) for index in kept),
        labels=labels,
        identities=identities,
        sizes=sizes[readable],
        formats=formats[readable],
        colours=colours[readable],
        byte_digests=digests[0, readable],
        pixel_digests=digests[1, readable],
        hashes=hashes[readable],
        hashed=hashed[readable],
        medians=medians,
        unreadable=tuple(unreadable),
    )


def _used_identities(labels: Indices, identities: tuple[str, ...]) -> tuple[Indices, tuple[str, ...]]:
    """Labels without gaps, and the identities that they mean."""
    used = np.unique(labels[labels >= 0])
    new_label = np.full(len(identities) + 1, NO_IDENTITY, dtype=np.int64)  # the last one stands for NO_IDENTITY
    new_label[used] = np.arange(len(used))
    return new_label[labels], tuple(identities[label] for label in used)


def _medians(source: ImageSource, workers: int) -> Floats:
    """(128,) float32: the median of each frequency over a sample of the images."""
    chosen = np.random.default_rng(0).permutation(len(source))[:_MEDIAN_SAMPLE].astype(np.int64)

    def spectrum(index: int) -> Floats | None:
        try:
            return spectra(source.image(index), VIEWS[:1])
        except (DataError, MemoryError, cv2.error):
            return None

    batches = np.array_split(chosen, range(_BATCH, len(chosen), _BATCH))
    found = [one for _, some in decode_ahead(batches, spectrum, workers=workers) for one in some if one is not None]
    if not found:
        return np.zeros(8 * HASH_BYTES, np.float32)
    return np.asarray(np.median(np.concatenate(found), axis=0), dtype=np.float32)


def _facts(source: ImageSource, index: int, medians: Floats) -> _Facts | str:
    """The facts of one image, or why it is no whole one."""
    try:
        encoded = source.encoded(index)
        return _facts_of(encoded, source.key(index), medians) if encoded else "the file is empty (zero bytes)"
    except DataError as error:
        return error.cause
    except MemoryError:
        return "the image is too large (out of memory)"
    except cv2.error as error:
        return f"the image is too large ({error.err})"


def _facts_of(encoded: bytes, name: str, medians: Floats) -> _Facts:
    image = decode_image(encoded, place=name)
    found = spectra(image)
    return _Facts(
        size=(image.shape[1], image.shape[0]),
        format=FORMATS.index(image_format(encoded)),
        colour=_colour(image, encoded),
        byte_digest=_digest(encoded),
        pixel_digest=_digest(str(image.shape).encode() + image.tobytes()),
        hashes=None if found is None else hash_views(found, medians),
    )


def _colour(image: npt.NDArray[np.uint8], encoded: bytes) -> int:
    """Index into `COLOURS`."""
    if stored_channels(encoded) in (1, 2):
        return 2
    red, green, blue = cv2.split(image)
    difference = max(float(cv2.absdiff(red, green).mean()), float(cv2.absdiff(green, blue).mean()))
    return 1 if difference < _GREY_DIFFERENCE else 0


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
