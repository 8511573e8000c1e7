from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.folder import FolderDataset
from facedistill.errors import UsageError
from facedistill.training import batch_size
from facedistill.training.batch_size import find_batch_size, largest_batch
from facedistill.training.engine import Engine
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import prepare_teacher

from .conftest import teacher_options


def find(room: int, *, start: int = 2, most: int = 1 << 14) -> tuple[int, list[int]]:
    """The batch that is found on a device with room for so many images, and those that were tried."""
    tried: list[int] = []

    def try_batch(size: int) -> None:
        tried.append(size)
        if size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return find_batch_size(try_batch, start=start, most=most), tried


def test_by_hand() -> None:
    # Doubled to 64, which is too much; then 48 fits, 56 does not, 52 does, and the gap of 4 is an eighth of it or less.
    assert find(53) == (52, [2, 4, 8, 16, 32, 64, 48, 56, 52])
    assert find(100, most=100) == (100, [2, 4, 8, 16, 32, 64, 100])
    assert find(3) == (3, [2, 4, 3])


@given(room=st.integers(2, 40_000), start=st.integers(2, 9), most=st.integers(9, 1 << 14))
def test_it_fits_and_little_more_would(room: int, start: int, most: int) -> None:
    if room < start:
        with pytest.raises(UsageError):
            find(room, start=start, most=most)
        return
    found, tried = find(room, start=start, most=most)
    assert found in tried
    assert start <= found <= min(room, most)
    assert found == most or found * 9 / 8 + 1 > room
    assert len(tried) == len(set(tried))
    assert len(tried) <= math.log2(most) + 6


def test_not_even_the_first_fits() -> None:
    with pytest.raises(UsageError, match=r"not even a batch of 2 fits into the memory\. Use a smaller network"):
        find(1)


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    def broken(size: int) -> None:
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        find_batch_size(broken, start=2, most=8)


def test_the_cpu_has_no_largest_batch(dataset: FolderDataset, tmp_path: Path) -> None:
    training = prepare_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options())
    with pytest.raises(UsageError, match="--find-batch-size: the largest batch can be found on a GPU only"):
        largest_batch(training)


def test_the_memory_of_a_failed_step_is_free_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []

    class Activations:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def try_batch(size: int) -> None:
        held = Activations()
        if size > 4:
            raise torch.OutOfMemoryError(str(held)[:0])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append(len(alive)))
    seen: list[int] = []
    assert find_batch_size(try_batch, start=2, most=64) == 4
    assert seen == [0, 0, 0]  # 8, 6 and 5 were too much


@pytest.mark.cuda
def test_the_largest_batch_of_a_gpu(dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Engine.step
    sizes: list[int] = []

    def counted(engine: Engine, batches: Any, *arguments: Any, **options: Any) -> None:
        sizes.append(len(batches[0][1].indices))
        step(engine, batches, *arguments, **options)

    monkeypatch.setattr(Engine, "step", counted)
    training = prepare_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(device="cuda"))
    assert largest_batch(training, most=256) == 256
    assert sizes == [2, 4, 8, 16, 32, 64, 128, 256]
    free = torch.cuda.mem_get_info()[1]
    before = torch.cuda.memory_allocated()
    torch.cuda.set_per_process_memory_fraction((before + (1 << 30)) / free)
    try:
        training = prepare_teacher(
            dataset, RunFolder(tmp_path / "b"), teacher_options(device="cuda", model="mobilefacenet", input_size=112)
        )
        found = largest_batch(training)
        assert 16 <= found < batch_size.MOST
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
