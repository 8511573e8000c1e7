from __future__ import annotations

import numpy as np
import pytest

from facedistill.data.batches import load_batches
from facedistill.errors import DataError
from facedistill.preprocessing import Preprocessing


class Numbered:
    """Image i is filled with i; those in `corrupt` cannot be decoded."""

    identities = ("only",)
    fingerprint = ""

    def __init__(self, count: int, corrupt: tuple[int, ...] = ()) -> None:
        self.labels = np.zeros(count, dtype=np.int64)
        self.corrupt = corrupt

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        if index in self.corrupt:
            raise DataError("corrupt", place=self.key(index))
        return np.full((8, 8, 3), index, dtype=np.uint8)

    def key(self, index: int) -> str:
        return f"image {index}"


INDICES = [np.array([3, 1]), np.array([0, 2]), np.array([4, 5]), np.array([7, 6]), np.array([8, 9]), np.array([2, 2])]


@pytest.mark.parametrize("workers", [1, 4])
def test_batches_keep_their_order(workers: int) -> None:
    batches = list(load_batches(Numbered(10), INDICES, Preprocessing(size=8), workers=workers))
    assert [batch.indices.tolist() for batch in batches] == [indices.tolist() for indices in INDICES]
    assert all(np.array_equal(batch.images[:, 0, 0, 0], batch.indices) for batch in batches)


def test_images_are_resized_to_the_model() -> None:
    batch = next(load_batches(Numbered(4), [np.array([1, 2])], Preprocessing(size=4)))
    assert batch.images.shape == (2, 4, 4, 3)


def test_corrupt_images_are_left_out_and_told() -> None:
    told: list[str] = []
    dataset = Numbered(10, corrupt=(1, 4, 5))
    batches = list(
        load_batches(dataset, INDICES, Preprocessing(size=8), on_corrupt=lambda key, error: told.append(key))
    )
    assert [batch.indices.tolist() for batch in batches] == [[3], [0, 2], [7, 6], [8, 9], [2, 2]]
    assert sorted(told) == ["image 1", "image 4", "image 5"]
    assert all(np.array_equal(batch.images[:, 0, 0, 0], batch.indices) for batch in batches)


def test_without_a_listener_a_corrupt_image_stops() -> None:
    with pytest.raises(DataError, match="image 4: corrupt"):
        list(load_batches(Numbered(10, corrupt=(4,)), INDICES, Preprocessing(size=8)))
