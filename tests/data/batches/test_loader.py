from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.batches.loader import BatchLoader, ImageBatch
from facedistill.data.batches.replacement import replacements
from facedistill.data.folder import FolderDataset
from facedistill.errors import DataError
from facedistill.preprocessing import Preprocessing


class Numbered:
    """Image i is filled with i; those in `corrupt` cannot be decoded."""

    identities = ("a", "b")
    fingerprint = ""

    def __init__(self, count: int, corrupt: Iterable[int] = ()) -> None:
        self.labels = np.arange(count, dtype=np.int64) % 2
        self.corrupt = set(corrupt)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        if index in self.corrupt:
            raise DataError("corrupt", place=self.key(index))
        return np.full((8, 8, 3), index, dtype=np.uint8)

    def encoded(self, index: int) -> bytes:
        raise NotImplementedError

    def key(self, index: int) -> str:
        return f"image {index}"


INDICES = [np.array([3, 1]), np.array([0, 2]), np.array([4, 5]), np.array([7, 6]), np.array([8, 9]), np.array([2, 2])]


def load(dataset: Numbered | FolderDataset, size: int = 8, threads: int = 2, processes: int = 0) -> list[ImageBatch]:
    with BatchLoader(dataset, Preprocessing(size=size), threads=threads, processes=processes) as loader:
        return list(loader.batches(INDICES))


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_keep_their_order(threads: int) -> None:
    batches = load(Numbered(10), threads=threads)
    assert [batch.indices.tolist() for batch in batches] == [indices.tolist() for indices in INDICES]
    assert all(np.array_equal(batch.images[:, 0, 0, 0], batch.indices) for batch in batches)
    assert not any(batch.corrupt for batch in batches)


def test_images_are_resized_to_the_model() -> None:
    assert load(Numbered(10), size=4)[0].images.shape == (2, 4, 4, 3)


def test_corrupt_images_are_replaced_by_the_same_person() -> None:
    batches = load(Numbered(10, corrupt=(1, 4, 5, 9)))
    # 1 -> 3, 4 -> 6, 5 -> 7, 9 -> 1 -> 3: the next of the same parity, and round.
    assert [batch.indices.tolist() for batch in batches] == [[3, 3], [0, 2], [6, 7], [7, 6], [8, 3], [2, 2]]
    assert all(np.array_equal(batch.images[:, 0, 0, 0], batch.indices) for batch in batches)
    assert [sorted(batch.corrupt) for batch in batches] == [[1], [], [4, 5], [], [1, 9], []]
    assert batches[0].corrupt[1] == "corrupt"


def test_by_somebody_else_where_nobody_is_left() -> None:
    batches = load(Numbered(10, corrupt=range(1, 10, 2)))
    assert batches[0].indices.tolist() == [4, 2]


def test_nothing_that_could_replace_it() -> None:
    with pytest.raises(DataError, match="image 3: 10 images in turn cannot be decoded"):
        load(Numbered(10, corrupt=range(10)))


def test_the_order_of_replacements() -> None:
    labels = np.array([0, 1, 0, 2, 0, 1])
    assert list(replacements(labels, 2)) == [2, 4, 0, 3, 5, 1]


def interrupt_blocked(pid: int | None) -> bool:
    """Whether SIGINT passes a process by; True on systems that do not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return True
    (blocked,) = re.findall(r"SigBlk:\s+(\w+)", status.read_text())
    return bool(int(blocked, 16) & 1 << signal.SIGINT - 1)


def test_processes_give_the_same_batches_as_threads(faces: Path, tmp_path: Path) -> None:
    for number in range(3):
        for person in ("a", "b"):
            path = tmp_path / person / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((faces / f"person_00000{number}" / "0000.png").read_bytes())
    (tmp_path / "a" / "1.png").write_bytes(b"no image")
    dataset = FolderDataset(tmp_path)
    indices = [np.array([0, 1, 2]), np.array([5, 4, 1]), np.array([3])]

    def shown(batches: Iterable[ImageBatch]) -> list[tuple[list[int], bytes, dict[int, str]]]:
        return [(batch.indices.tolist(), batch.images.tobytes(), batch.corrupt) for batch in batches]

    with BatchLoader(dataset, Preprocessing(size=48), processes=2) as loader:
        first = shown(loader.batches(indices))
        assert all(interrupt_blocked(child.pid) for child in active_children())
        # The processes live on from epoch to epoch, with other batches.
        second = shown(loader.batches(indices[::-1]))
    with BatchLoader(dataset, Preprocessing(size=48)) as loader:
        assert shown(loader.batches(indices)) == first
        assert shown(loader.batches(indices[::-1])) == second
    assert first[0][0] == [0, 2, 2]
    assert list(first[0][2]) == [1]
