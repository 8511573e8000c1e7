"""The descriptors that pairs are judged by: of a model that looks at the images, or of a cache of what one saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.data.image_source import ImageSource
from facedistill.embedders.cache import EmbeddingCache
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.load_model import Model
from facedistill.errors import ModelFileError
from facedistill.shown_name import shown_name


@dataclass(frozen=True, eq=False)
class Descriptors:
    """What a model makes of some images.

    Args:
        unit: (N, D) float64, embedding plus that of the mirror image, scaled to length 1.
        norms: (N,) float64, the length of that sum before it was scaled.
        keys: (N,) the images' names, where they are known.
        notes: what was done on the way, such as resizing.
    """

    unit: npt.NDArray[np.float64]
    norms: npt.NDArray[np.float64]
    keys: Sequence[str] | None = None
    notes: tuple[str, ...] = ()


def describe(
    model: Model,
    images: ImageSource,
    indices: npt.NDArray[np.int64] | None = None,
    *,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
    shared: bool = False,
) -> Descriptors:
    """The descriptors of some images in the order of `indices` (None: of all).

    Args:
        model: embeds the images, or is a cache that has their embeddings by key.
        images: any source of images.
        indices: (N,) which of them.
        batch_size: images a call of the network.
        progress: called with (images done, images) after each batch.
        shared: see `embed_dataset`.

    Raises:
        DataError: an image cannot be decoded, or could not be when the cache was made.
        ModelFileError: an embedding is not finite or has no direction; or the cache lacks an image.
    """
    wanted = np.arange(len(images)) if indices is None else np.asarray(indices, dtype=np.int64)
    keys = [images.key(index) for index in wanted.tolist()]
    if isinstance(model, EmbeddingCache):
        rows, every = model.of_images(images, wanted), np.arange(len(wanted))
        turned = np.ones(len(wanted), dtype=np.bool_)
        summed = rows.lookup(every, ~turned) + rows.lookup(every, turned)
        return _scaled(summed, keys, place=model.name)
    embedded = embed_dataset(model, images, wanted, batch_size=batch_size, progress=progress, shared=shared)
    notes = resize_notes(embedded.crop_sizes, model.preprocessing.size)
    return _scaled(embedded.summed, keys, place=model.name, notes=notes)


def resize_notes(crop_sizes: Sequence[tuple[int, int]], size: int) -> tuple[str, ...]:
    """A line for each (height, width) that crops had to be resized from, for a model that takes `size` x `size`."""
    return tuple(
        f"crops of {width}x{height} are resized to {size}x{size}; they must be aligned faces like the model's own"
        for height, width in crop_sizes
        if (height, width) != (size, size)
    )


def unit_embeddings(
    embeddings: npt.NDArray[np.float32], keys: Sequence[str] | None = None, *, place: object | None = None
) -> npt.NDArray[np.float64]:
    """(N, D) raw embeddings -> (N, D) float64 of length 1.

    Args:
        embeddings: as a network gives them, mirrored ones added where the protocol says so.
        keys: (N,) the images' names, for the message.
        place: the model, for the message.

    Raises:
        ModelFileError: an embedding is not finite, or all zeros and so without a direction.
    """
    return _scaled(embeddings, keys, place=place).unit


def _scaled(
    summed: npt.NDArray[np.float32], keys: Sequence[str] | None, *, place: object | None, notes: tuple[str, ...] = ()
) -> Descriptors:
    norms = np.linalg.norm(summed.astype(np.float64), axis=1)
    for fault, reason in ((~np.isfinite(norms), "is not finite (NaN or infinity)"), (norms == 0, "is all zeros")):
        if fault.any():
            first = int(np.argmax(fault))
            name = f"number {first}" if keys is None else f"'{shown_name(keys[first])}'"
            others = int(np.count_nonzero(fault)) - 1
            raise ModelFileError(
                f"the embedding of image {name} {reason}" + (f", and so are {others} others" if others else ""),
                place=place,
                next_step="A model that trained well gives none such; check its weights and its preprocessing",
            )
    return Descriptors(np.asarray(summed / norms[:, np.newaxis], dtype=np.float64), norms, keys, notes)
