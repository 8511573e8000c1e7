from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.data.image_source import ImageSource
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.embedder import Embedder
from facedistill.errors import DataError, ModelFileError
from facedistill.preprocessing import Preprocessing


class Columns:
    """Embeds a crop as the red values of its top row, so that mirroring reverses the embedding."""

    name = "columns"
    fingerprint = "0" * 64

    def __init__(self, size: int = 4) -> None:
        self.preprocessing = Preprocessing(size=size)
        self.embedding_size = size
        self.batches: list[int] = []

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert images.shape[1:] == (self.embedding_size, self.embedding_size, 3)
        assert images.flags.c_contiguous
        self.batches.append(len(images))
        return images[:, 0, :, 0].astype(np.float32)


class Ramps:
    """Image i has the red values 10 i, 10 i + 1, ... from left to right."""

    def __init__(self, count: int, sizes: tuple[int, ...] = (4,)) -> None:
        self.count = count
        self.sizes = sizes
        self.decoded: list[int] = []
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        with self.lock:
            self.decoded.append(index)
        size = self.sizes[index % len(self.sizes)]
        image = np.zeros((size, size, 3), dtype=np.uint8)
        image[..., 0] = 10 * index + np.arange(size)
        return image

    def key(self, index: int) -> str:
        return f"image-{index}"


def test_the_protocols_are_met() -> None:
    assert isinstance(Columns(), Embedder)
    source: ImageSource = Ramps(1)
    assert len(source) == 1


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
def test_originals_and_mirrored_images_in_order(batch_size: int) -> None:
    embedder, dataset = Columns(), Ramps(7)
    embedded = embed_dataset(embedder, dataset, batch_size=batch_size)
    expected = 10 * np.arange(7)[:, np.newaxis] + np.arange(4)
    assert embedded.original.tolist() == expected.tolist()
    assert embedded.mirrored is not None
    assert embedded.mirrored.tolist() == expected[:, ::-1].tolist()
    assert embedded.summed.tolist() == (2 * 10 * np.arange(7)[:, np.newaxis] + np.full(4, 3)).tolist()
    assert embedded.original.dtype == np.float32
    assert max(embedder.batches) <= batch_size
    assert sorted(dataset.decoded) == list(range(7)), "each image is decoded once"
    assert embedded.crop_sizes == ((4, 4),)


def test_indices_pick_and_order_the_images() -> None:
    embedded = embed_dataset(Columns(), Ramps(9), [5, 2, 5], batch_size=2)
    assert embedded.original[:, 0].tolist() == [50, 20, 50]


def test_without_mirroring() -> None:
    embedder = Columns()
    embedded = embed_dataset(embedder, Ramps(4), batch_size=4, mirror=False)
    assert embedded.mirrored is None
    assert embedded.summed is embedded.original
    assert embedder.batches == [4]


def test_no_images() -> None:
    embedded = embed_dataset(Columns(), Ramps(3), [])
    assert embedded.original.shape == (0, 4)


def test_images_of_several_sizes_share_a_batch_once_resized() -> None:
    dataset = Ramps(4, sizes=(4, 8))
    embedded = embed_dataset(Columns(), dataset, batch_size=4)
    assert embedded.crop_sizes == ((4, 4), (8, 8))
    # Area averaging of 10, 11, ..., 17 two by two; a half rounds to the even number.
    assert embedded.original[0].tolist() == [0, 1, 2, 3]
    assert embedded.original[1] == pytest.approx([10.5, 12.5, 14.5, 16.5], abs=0.51)


def test_progress_counts_images() -> None:
    seen: list[tuple[int, int]] = []
    embed_dataset(Columns(), Ramps(5), batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_a_corrupt_image_stops_it() -> None:
    class Corrupt(Ramps):
        def image(self, index: int) -> npt.NDArray[np.uint8]:
            if index == 3:
                raise DataError("the image is corrupt", place=self.key(index))
            return super().image(index)

    with pytest.raises(DataError, match="image-3: the image is corrupt"):
        embed_dataset(Columns(), Corrupt(400), batch_size=2)
    decoding = [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert not decoding, "threads are left behind"


def test_decoding_stays_few_batches_ahead() -> None:
    """All images of a large data set must not be held in memory at once."""
    dataset = Ramps(40)

    class Slow(Columns):
        def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            self.ahead = max(getattr(self, "ahead", 0), len(dataset.decoded) - 2 * sum(self.batches))
            return super().embed(images)

    embedder = Slow()
    embed_dataset(embedder, dataset, batch_size=2, mirror=False)
    assert embedder.ahead <= 8


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_embedding_that_is_not_finite_names_its_image(value: float, mirrored: bool) -> None:
    class Broken(Columns):
        def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            embeddings = super().embed(images)
            if (images[0, 0, 0, 0] > images[0, 0, -1, 0]) == mirrored:
                embeddings[embeddings[:, 0] // 10 >= 2] = value
            return embeddings

    with pytest.raises(ModelFileError, match="columns: the embedding of image 'image-2' is not finite"):
        embed_dataset(Broken(), Ramps(6), batch_size=4)
