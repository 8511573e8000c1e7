"""The teacher's class centres against a loop over images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from facedistill.distill.centres import class_centres
from facedistill.embedders import cached_rows
from facedistill.embedders.cached_rows import CachedRows, FloatArray, split_norms
from facedistill.errors import DataError

from .slow_centres import unit

PEOPLE = list("ABCDEF")
LabelArray = npt.NDArray[np.int64]


def made(images: int = 40, size: int = 5, classes: int = 6) -> tuple[FloatArray, FloatArray, LabelArray]:
    random = np.random.default_rng(0)
    original = (random.normal(size=(images, size)) * random.uniform(1, 30, size=(images, 1))).astype(np.float32)
    mirrored = (original + random.normal(size=(images, size))).astype(np.float32)
    return original, mirrored, np.concatenate([np.arange(classes), random.integers(0, classes, images - classes)])


def centres(original: FloatArray, mirrored: FloatArray, labels: LabelArray, people: list[str] = PEOPLE) -> torch.Tensor:
    return class_centres(CachedRows.in_memory(original, mirrored), labels, people)


def slow(rows: list[list[float]], labels: list[int], classes: int) -> list[list[float]]:
    sums = [[0.0] * len(rows[0]) for _ in range(classes)]
    for row, label in zip(rows, labels, strict=True):
        if label >= 0 and not any(value != value for value in row):
            sums[label] = [a + b for a, b in zip(sums[label], unit(row), strict=True)]
    return [unit(row) for row in sums]


@pytest.mark.parametrize("piece", [7, 8192])
def test_centres_equal_a_slow_loop_and_are_read_in_pieces(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_rows, "PIECE", piece)
    monkeypatch.setattr(CachedRows, "all", None)
    original, mirrored, labels = made()
    original[10], mirrored[10] = np.nan, np.nan
    original[11, 2] = np.nan  # its mirror image can be read
    labels[12] = -1
    found = centres(original, mirrored, labels)
    assert found.dtype == torch.float32
    rows = [*original.tolist(), *mirrored.tolist()]
    expected = slow(rows, [*labels.tolist(), *labels.tolist()], 6)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6))


def test_length_of_an_embedding_does_not_count() -> None:
    original, mirrored, labels = made()
    lengths = np.linspace(0.1, 90, len(labels), dtype=np.float32)[:, None]
    torch.testing.assert_close(centres(original * lengths, mirrored, labels), centres(original, mirrored, labels))


def test_half_precision_rows_are_summed_in_float32() -> None:
    original, mirrored, labels = made()
    directions, norms = zip(*map(split_norms, (original, mirrored)), strict=True)
    rows = CachedRows(np.stack(directions, axis=1).astype(np.float16), np.stack(norms, axis=1))
    found = class_centres(rows, labels, PEOPLE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, centres(original, mirrored, labels), atol=2e-3, rtol=0)


def test_what_it_is_given_stays_as_it_is() -> None:
    original, mirrored, labels = made()
    before = original.copy(), mirrored.copy(), labels.copy()
    centres(original, mirrored, labels)
    for now, then in zip((original, mirrored, labels), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_people_without_a_readable_image_are_named() -> None:
    original, mirrored, labels = made()
    for person in (2, 4):
        original[labels == person], mirrored[labels == person] = np.nan, np.nan
    with pytest.raises(DataError, match="2 of 6 people have no readable image; the first of them is 'C'"):
        centres(original, mirrored, labels)
    with pytest.raises(DataError, match=r"the first of them is 'Cy\\x1b'"):
        centres(original, mirrored, labels, ["A", "B", "Cy\x1b", "D", "E", "F"])
    with pytest.raises(DataError, match="1 of 7 people has no readable image"):
        centres(*made(), [*PEOPLE, "G"])


def test_a_centre_without_a_direction_is_refused() -> None:
    original, mirrored, labels = made()
    original[labels == 3], mirrored[labels == 3] = 0, 0
    with pytest.raises(DataError, match="1 of 6 people has no class centre by this teacher"):
        centres(original, mirrored, labels)
    original, mirrored, labels = made()
    one = np.flatnonzero(labels == 3)[0]
    labels[(labels == 3) & (np.arange(len(labels)) != one)] = -1
    mirrored[one] = -2 * original[one]
    with pytest.raises(DataError, match="cancel each other out"):
        centres(original, mirrored, labels)
