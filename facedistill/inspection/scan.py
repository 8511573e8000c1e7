"""One pass over a folder of images: the facts of each file, and what else lies beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.data.decoding import decode_ahead
from facedistill.data.images import IMAGE_SUFFIXES, FolderScan, decode_image, read_image, scan_folder
from facedistill.errors import DataError, UsageError
from facedistill.inspection.header import FORMATS, image_format, stored_channels
from facedistill.inspection.photo_hash import HASH_BYTES, VIEWS, hash_views, spectra
from facedistill.shown_name import shown_name

Floats = npt.NDArray[np.float32]

NO_IDENTITY = -1
"""The label of an image that lies in the folder itself."""
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
        folder: where they lie.
        names: their paths within it, with forward slashes, sorted.
        labels: (N,) int32 index into `identities`, or `NO_IDENTITY`.
        identities: paths of the folders that hold readable images, sorted.
        sizes: (N, 2) int32, width and height in pixels.
        formats: (N,) int8 index into `FORMATS`, by content.
        colours: (N,) int8 index into `COLOURS`.
        byte_digests, pixel_digests: (N,) uint64 of the file and of its decoded pixels; among a million files two differ
            and share one with a chance below 1e-7.
        hashes: (N, views, 16) uint8, see `photo_hash`.
        hashed: (N,) bool, False for blank pictures.
        unreadable: name and reason of each file that is no whole image.
        other_files: how many files of each other suffix lie there.
        outside_links: symbolic links that lead out of the folder; they are not followed.
    """

    folder: Path
    names: tuple[str, ...]
    labels: npt.NDArray[np.int32]
    identities: tuple[str, ...]
    sizes: npt.NDArray[np.int32]
    formats: npt.NDArray[np.int8]
    colours: npt.NDArray[np.int8]
    byte_digests: npt.NDArray[np.uint64]
    pixel_digests: npt.NDArray[np.uint64]
    hashes: npt.NDArray[np.uint8]
    hashed: npt.NDArray[np.bool_]
    unreadable: tuple[tuple[str, str], ...]
    other_files: dict[str, int]
    outside_links: tuple[str, ...]

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


def scan_images(folder: Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> Scan:
    """Read every image below `folder` once (a sample of them twice).

    Args:
        folder: of any depth; an image's identity is the folder that it lies in.
        workers: threads that decode.
        progress: called with (images done, images in all).

    Raises:
        UsageError: there is no such folder.
        DataError: it is a file, holds no images, or none that is whole.
    """
    found_files = _find(folder)
    names = found_files.images
    medians = _medians(folder, names, workers)

    def facts(index: int) -> _Facts | str:
        return _facts(folder / names[index], medians)

    count = len(names)
    sizes, readable = np.zeros((count, 2), np.int32), np.zeros(count, np.bool_)
    formats, colours = np.zeros(count, np.int8), np.zeros(count, np.int8)
    digests = np.zeros((2, count), np.uint64)
    hashes, hashed = np.zeros((count, len(VIEWS), HASH_BYTES), np.uint8), np.zeros(count, np.bool_)
    unreadable = []
    batches = np.array_split(np.arange(count, dtype=np.int64), range(_BATCH, count, _BATCH))
    for indices, found in decode_ahead(batches, facts, workers=workers):
        for index, fact in zip(indices, found, strict=True):
            if isinstance(fact, str):
                unreadable.append((names[index], fact))
                continue
            readable[index] = True
            sizes[index], formats[index], colours[index] = fact.size, fact.format, fact.colour
            digests[:, index] = fact.byte_digest, fact.pixel_digest
            if fact.hashes is not None:
                hashes[index], hashed[index] = fact.hashes, True
        if progress is not None:
            progress(int(indices[-1]) + 1, count)
    kept = tuple(name for name, good in zip(names, readable, strict=True) if good)
    if not kept:
        name, reason = unreadable[0]
        cause = "the one image is not whole" if count == 1 else f"none of the {count} images is whole"
        raise DataError(f"{cause}: {shown_name(name)}: {reason}", place=folder, next_step="Fetch or make them again")
    labels, identities = _identities(kept)
    return Scan(
        folder=folder,
        names=kept,
        labels=labels,
        identities=identities,
        sizes=sizes[readable],
        formats=formats[readable],
        colours=colours[readable],
        byte_digests=digests[0, readable],
        pixel_digests=digests[1, readable],
        hashes=hashes[readable],
        hashed=hashed[readable],
        unreadable=tuple(unreadable),
        other_files={suffix or "no suffix": count for suffix, count in found_files.ignored.items()},
        outside_links=tuple(found_files.outside_links),
    )


def _find(folder: Path) -> FolderScan:
    if not folder.exists():
        raise UsageError("there is no such folder", place=folder)
    if not folder.is_dir():
        raise DataError("this is a file, not a folder of face crops", place=folder)
    found = scan_folder(folder)
    if found.images:
        return found
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
    raise DataError(cause, place=folder, next_step=next_step)


def _medians(folder: Path, names: list[str], workers: int) -> Floats:
    """(128,) float32: the median of each frequency over a sample of the images."""
    chosen = np.random.default_rng(0).permutation(len(names))[:_MEDIAN_SAMPLE].astype(np.int64)

    def spectrum(index: int) -> Floats | None:
        try:
            return spectra(read_image(folder / names[index]), VIEWS[:1])
        except (DataError, MemoryError, cv2.error):
            return None

    batches = np.array_split(chosen, range(_BATCH, len(chosen), _BATCH))
    found = [one for _, some in decode_ahead(batches, spectrum, workers=workers) for one in some if one is not None]
    if not found:
        return np.zeros(8 * HASH_BYTES, np.float32)
    return np.asarray(np.median(np.concatenate(found), axis=0), dtype=np.float32)


def _facts(path: Path, medians: Floats) -> _Facts | str:
    """The facts of one file, or why it is no whole image."""
    try:
        encoded = path.read_bytes()
        return _facts_of(encoded, path, medians) if encoded else "the file is empty (zero bytes)"
    except OSError as error:
        return f"the image cannot be read ({error.strerror})"
    except DataError as error:
        return error.cause
    except MemoryError:
        return "the image is too large (out of memory)"
    except cv2.error as error:
        return f"the image is too large ({error.err})"


def _facts_of(encoded: bytes, path: Path, medians: Floats) -> _Facts:
    image = decode_image(encoded, place=path)
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


def _identities(names: tuple[str, ...]) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    owners = [name.rpartition("/")[0] for name in names]
    identities = tuple(sorted(set(owners) - {""}))
    label_of = {identity: label for label, identity in enumerate(identities)} | {"": NO_IDENTITY}
    return np.array([label_of[owner] for owner in owners], dtype=np.int32), identities
