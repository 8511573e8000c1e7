from __future__ import annotations

import numpy as np
import pytest

from facedistill.embedders import cached_rows
from facedistill.embedders.cached_rows import CachedRows, split_norms
from facedistill.errors import DataError, ModelFileError


def made(count: int = 50, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    lengths = 10.0 ** generator.uniform(-6, 9, (count, 1))
    return tuple((generator.normal(size=(count, size)) * lengths).astype(np.float32) for _ in range(2))  # type: ignore[return-value]


def in_half(original: np.ndarray, mirrored: np.ndarray, **more: object) -> CachedRows:
    parts = [split_norms(original), split_norms(mirrored)]
    directions = np.stack([part[0] for part in parts], axis=1).astype(np.float16)
    return CachedRows(directions, np.stack([part[1] for part in parts], axis=1), **more)  # type: ignore[arg-type]


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = first.astype(np.float64), second.astype(np.float64)
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.mark.parametrize("half", [False, True])
def test_what_is_looked_up_is_what_was_put_in(half: bool) -> None:
    original, mirrored = made()
    rows = in_half(original, mirrored) if half else CachedRows.in_memory(original, mirrored)
    indices, flags = np.array([7, 0, 49, 7]), np.array([True, False, False, False])
    found = rows.lookup(indices, flags)
    assert found.dtype == np.float32
    expected = np.stack([(mirrored if flag else original)[index] for index, flag in zip(indices, flags, strict=True)])
    largest = np.abs(expected).max(axis=1, keepdims=True)
    assert (np.abs(found - expected) / largest).max() < (6e-4 if half else 1e-6)
    both = rows.all()
    assert np.array_equal(both[1][7], found[0])
    assert np.array_equal(both[0][[0, 49, 7]], found[1:])
    assert np.array_equal(rows.original, both[0])
    assert np.array_equal(rows.mirrored, both[1])


def test_half_precision_neither_overflows_nor_underflows() -> None:
    """Norms from 1e-5 to 1e10, of which float16 holds none; the directions lose less than 1e-7 of their cosine."""
    original, mirrored = made(2000, 128)
    rows = in_half(original, mirrored)
    found = rows.original
    assert np.isfinite(found).all()
    assert (1 - cosine(found, original)).max() < 1e-7
    assert (
        np.abs(np.linalg.norm(found.astype(float), axis=1) / np.linalg.norm(original.astype(float), axis=1) - 1).max()
        < 3e-4
    )
    between = np.abs(cosine(found[:-1], found[1:]) - cosine(original[:-1], original[1:]))
    assert between.max() < 2e-4
    assert between.mean() < 3e-5


def test_norms_and_directions() -> None:
    directions, norms = split_norms(np.array([[3, 4], [0, 0], [np.nan, 1], [3e38, 3e38], [1e-30, 0]], np.float32))
    assert norms[:2].tolist() == [5, 0]
    assert np.isnan(norms[2])
    assert norms[3] == np.inf
    assert np.allclose(directions, [[0.6, 0.8], [0, 0], [0, 0], [0, 0], [1, 0]])


def test_pieces_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_rows, "PIECE", 7)
    original, mirrored = made(20)
    rows = CachedRows.in_memory(original, mirrored).part(np.arange(20)[::-1], str)
    seen = list(rows.pieces())
    assert [(which.start, which.stop) for which, _, _ in seen] == [(0, 7), (7, 14), (14, 20)]
    assert np.allclose(np.concatenate([piece[1] for piece in seen]), original[::-1])
    assert np.allclose(np.concatenate([piece[2] for piece in seen]), mirrored[::-1])


def test_a_part_of_a_part() -> None:
    original, mirrored = made(10)
    whole = CachedRows.in_memory(original, mirrored)
    part = whole.part(np.array([4, 2, 9]), str).part(np.array([2, 0]), str)
    assert len(part) == 2
    assert np.allclose(part.lookup(np.array([0, 1]), np.array([False, True])), [original[9], mirrored[4]])


def test_a_missing_image_is_told_from_a_damaged_one() -> None:
    original, mirrored = made(6)
    original[1], mirrored[1] = np.nan, np.nan
    rows = in_half(original, mirrored, key_of=lambda index: f"image {index}", place="c")
    assert rows.present.tolist() == [True, False, True, True, True, True]
    rows.check()
    assert np.isnan(rows.all()[0][1]).all()
    with pytest.raises(
        DataError, match=r"^c: the teacher has no embedding of 'image 1': it was corrupt then\. Embed .* --overw"
    ):
        rows.lookup(np.array([0, 1]), np.array([False, True]))
    rows.lookup(np.array([0, 2]), np.array([False, True]))


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        (0.0, "the teacher's embedding of 'image 3' has the norm 0"),
        (np.inf, "the cache is damaged: the embedding of 'image 3' is not finite"),
        (-1.0, "the cache is damaged: the embedding of 'image 3' is not what was written"),
        (1e30, r"the teacher's embedding of 'image 3' has the norm 1e\+30, which is none of an embedding"),
        (1e-30, "the teacher's embedding of 'image 3' has the norm 1e-30, which is none of an embedding"),
    ],
)
def test_norms_that_are_none(norm: float, message: str) -> None:
    directions, norms = split_norms(made(6)[0])
    both = np.stack([norms, norms], axis=1)
    both[3, 1] = norm
    rows = CachedRows(np.stack([directions, directions], axis=1), both, key_of=lambda index: f"image {index}")
    with pytest.raises(ModelFileError, match=message):
        rows.check()
    with pytest.raises(ModelFileError, match=message):
        rows.lookup(np.array([1, 3]), np.array([True, True]))
    rows.lookup(np.array([1, 3]), np.array([True, False]))


@pytest.mark.parametrize("value", [0, np.nan, np.inf, 0.5])
def test_a_direction_that_was_not_written_or_has_rotted(value: float) -> None:
    """A hole in a file reads as zeros."""
    directions, norms = split_norms(made(6)[0])
    stored = np.stack([directions, directions], axis=1).astype(np.float16)
    stored[2, 0] = value
    rows = CachedRows(stored, np.stack([norms, norms], axis=1), key_of=lambda index: f"image {index}")
    with pytest.raises(ModelFileError, match="the embedding of 'image 2' is not what was written"):
        rows.lookup(np.array([4, 2]), np.array([False, False]))


def test_chosen_rows_as_they_are() -> None:
    original, mirrored = made(10)
    original[4], mirrored[4] = np.nan, np.nan
    rows = CachedRows.in_memory(original, mirrored).part(np.arange(10)[::-1], str)
    chosen = np.array([5, 0, 5, 9])
    for found, whole, right in zip(rows.raw(chosen), rows.all(), (original, mirrored), strict=True):
        assert found.dtype == np.float32
        assert np.array_equal(found, whole[chosen], equal_nan=True)
        assert np.allclose(found, right[[4, 9, 4, 0]], equal_nan=True)
    assert rows.raw(np.array([], dtype=np.int64))[0].shape == (0, 24)


@pytest.mark.filterwarnings("error")
def test_damage_gives_no_warning_of_numpy() -> None:
    stored = np.full((3, 2, 8), 60000, np.float16)
    rows = CachedRows(stored, np.array([[1e38, np.inf], [np.nan, 0], [1e30, 1]], np.float32))
    assert np.isinf(rows.raw(np.array([0]))[0]).all()
    for row in range(3):
        with pytest.raises((DataError, ModelFileError)):
            rows.lookup(np.array([row]), np.zeros(1, bool))
