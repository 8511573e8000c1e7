"""Embed a data set: every image and its mirror image once, decoding while the network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.data.decoding import decode_ahead
from facedistill.data.image_source import ImageSource
from facedistill.embedders.embedder import Embedder
from facedistill.errors import DataError, ModelFileError
from facedistill.processors import available_processors
from facedistill.ranks import own_share, ranks, share_rows
from facedistill.shown_name import shown_name


@dataclass(frozen=True, eq=False)
class EmbeddedDataset:
    """Embeddings as the network gives them, not normalised.

    Args:
        original: (N, D) float32.
        mirrored: (N, D) float32, of the images turned left to right; None where they were not asked for.
        crop_sizes: the distinct (height, width) that the images have, before any resizing.
    """

    original: npt.NDArray[np.float32]
    mirrored: npt.NDArray[np.float32] | None
    crop_sizes: tuple[tuple[int, int], ...]

    @property
    def summed(self) -> npt.NDArray[np.float32]:
        """(N, D) float32: original plus mirrored, the descriptor of the verification protocols."""
        return self.original if self.mirrored is None else self.original + self.mirrored


class EmbeddedBatch(NamedTuple):
    """Some images as the network gives them, not normalised; rows of images that cannot be decoded are NaN.

    Attributes:
        indices: (B,) which images of the data set.
        original: (B, D) float32.
        mirrored: (B, D) float32, of the images turned left to right; None where they were not asked for.
    """

    indices: npt.NDArray[np.int64]
    original: npt.NDArray[np.float32]
    mirrored: npt.NDArray[np.float32] | None


def embed_dataset(
    embedder: Embedder,
    dataset: ImageSource,
    indices: Sequence[int] | npt.NDArray[np.int64] | None = None,
    *,
    batch_size: int = 64,
    mirror: bool = True,
    on_corrupt: Callable[[str, DataError], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    shared: bool = False,
) -> EmbeddedDataset:
    """Embed images of `dataset` in the order of `indices` (None: all of them, in order).

    Args:
        embedder: any model.
        dataset: any source of images.
        indices: the N images to embed.
        batch_size: images a call of the network; twice as many calls are made where `mirror` is set.
        mirror: embed the mirrored images as well.
        on_corrupt: told the key and the error of an image that cannot be decoded, whose row then is NaN; None raises
            the error.
        progress: called with (images done, N) after each batch.
        shared: let the processes of a distributed run share the work; all of them have to call this, and all get the
            whole. `progress` counts the images of this process alone, and `crop_sizes` are those that it met.

    Raises:
        DataError: an image cannot be decoded and `on_corrupt` is None; none is left out silently.
        ModelFileError: an embedding is not finite; the message names the first such image.
    """
    wanted = np.arange(len(dataset)) if indices is None else np.asarray(indices, dtype=np.int64)
    count = len(wanted)
    if shared:
        wanted = wanted[own_share(count)]
    original = np.empty((len(wanted), embedder.embedding_size), dtype=np.float32)
    mirrored = np.empty_like(original) if mirror else None
    sizes: set[tuple[int, int]] = set()
    done = 0
    for batch in embed_batches(
        embedder, dataset, wanted, batch_size=batch_size, mirror=mirror, on_corrupt=on_corrupt, sizes=sizes
    ):
        rows = slice(done, done + len(batch.indices))
        done = rows.stop
        original[rows] = batch.original
        if mirrored is not None:
            mirrored[rows] = batch.mirrored
        if progress is not None:
            progress(done, len(wanted))
    if shared and ranks() > 1:
        device = getattr(embedder, "device", None)
        original = share_rows(original, count, device=device)
        mirrored = None if mirrored is None else share_rows(mirrored, count, device=device)
    return EmbeddedDataset(original, mirrored, tuple(sorted(sizes)))


def embed_batches(
    embedder: Embedder,
    dataset: ImageSource,
    wanted: npt.NDArray[np.int64],
    *,
    batch_size: int,
    mirror: bool = True,
    on_corrupt: Callable[[str, DataError], None] | None = None,
    sizes: set[tuple[int, int]] | None = None,
) -> Iterator[EmbeddedBatch]:
    """The images of `wanted` in order, `batch_size` at a time; see `embed_dataset`, whose errors it raises.

    Crops are resized to the model's size in the threads that decode them. A model that resizes them itself, because
    it has several sizes, says so by an attribute `takes_any_size` that is True, and gets the crops as they are.

    Args:
        embedder: any model.
        dataset: any source of images.
        wanted: (N,) the images to embed.
        batch_size: images a call of the network.
        mirror: embed the mirrored images as well.
        on_corrupt: told the key and the error of an image that cannot be decoded; None raises the error.
        sizes: takes in the distinct (height, width) of the images before any resizing.
    """
    for indices, decoded in _decoded_batches(
        embedder, dataset, wanted, batch_size, set() if sizes is None else sizes, on_corrupt
    ):
        original = np.full((len(indices), embedder.embedding_size), np.nan, dtype=np.float32)
        mirrored = np.full_like(original, np.nan) if mirror else None
        for rows, crops in _of_one_size(decoded):
            original[rows] = embedder.embed(crops)
            _check_finite(original[rows], embedder, dataset, indices[rows])
            if mirrored is not None:
                mirrored[rows] = embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
                _check_finite(mirrored[rows], embedder, dataset, indices[rows])
        yield EmbeddedBatch(indices, original, mirrored)


def _of_one_size(
    decoded: list[npt.NDArray[np.uint8] | None],
) -> Iterator[tuple[list[int], npt.NDArray[np.uint8]]]:
    """The crops that there are, those of one size together: their places, and the crops as one array."""
    by_size: dict[tuple[int, ...], list[tuple[int, npt.NDArray[np.uint8]]]] = {}
    for row, crop in enumerate(decoded):
        if crop is not None:
            by_size.setdefault(crop.shape, []).append((row, crop))
    for found in by_size.values():
        yield [row for row, _ in found], np.stack([crop for _, crop in found])


def _decoded_batches(
    embedder: Embedder,
    dataset: ImageSource,
    wanted: npt.NDArray[np.int64],
    batch_size: int,
    sizes: set[tuple[int, int]],
    on_corrupt: Callable[[str, DataError], None] | None,
) -> Iterator[tuple[npt.NDArray[np.int64], list[npt.NDArray[np.uint8] | None]]]:
    """Indices and uint8 crops of the model's size, None for corrupt ones; adds their sizes to `sizes`."""
    as_they_are = getattr(embedder, "takes_any_size", False)

    def decode(index: int) -> npt.NDArray[np.uint8] | None:
        try:
            image = dataset.image(index)
        except DataError as error:
            if on_corrupt is None:
                raise
            on_corrupt(dataset.key(index), error)
            return None
        sizes.add((image.shape[0], image.shape[1]))
        if as_they_are:
            return image
        # One by one, since crops of different sizes make no batch before they are resized.
        return np.asarray(embedder.preprocessing.resize(image[np.newaxis])[0])

    batches = (wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size))
    yield from decode_ahead(batches, decode, workers=min(4, available_processors()))


def _check_finite(
    embeddings: npt.NDArray[np.float32], embedder: Embedder, dataset: ImageSource, indices: npt.NDArray[np.int64]
) -> None:
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        key = shown_name(dataset.key(int(indices[int(np.argmin(finite))])))
        raise ModelFileError(
            f"the embedding of image '{key}' is not finite (NaN or infinity)",
            place=embedder.name,
            next_step="Its weights may have diverged in training, or half precision may overflow",
        )
