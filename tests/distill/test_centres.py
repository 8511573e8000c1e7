"""The teacher's class centres against a loop over images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facedistill.distill import centres as module
from facedistill.distill.centres import centres_of_rows, class_centres
from facedistill.embedders import cached_rows
from facedistill.embedders.cached_rows import CachedRows
from facedistill.errors import DataError

from .slow_centres import unit

PEOPLE = list("ABCDEF")


def made(images: int = 40, size: int = 5, classes: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    random = np.random.default_rng(0)
    original = (random.normal(size=(images, size)) * random.uniform(1, 30, size=(images, 1))).astype(np.float32)
    mirrored = (original + random.normal(size=(images, size))).astype(np.float32)
    return original, mirrored, np.concatenate([np.arange(classes), random.integers(0, classes, images - classes)])


def slow(rows: list[list[float]], labels: list[int], classes: int) -> list[list[float]]:
    sums = [[0.0] * len(rows[0]) for _ in range(classes)]
    for row, label in zip(rows, labels, strict=True):
        if label >= 0 and not any(value != value for value in row):
            sums[label] = [a + b for a, b in zip(sums[label], unit(row), strict=True)]
    return [unit(row) for row in sums]


@pytest.mark.parametrize("block", [7, 1 << 16])
def test_centres_equal_a_slow_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", block)
    original, mirrored, labels = made()
    original[10], mirrored[10] = np.nan, np.nan
    original[11, 2] = np.nan  # its mirror image can be read
    labels[12] = -1
    found = class_centres(original, mirrored, labels, PEOPLE)
    assert found.dtype == torch.float32
    rows = [*original.tolist(), *mirrored.tolist()]
    expected = slow(rows, [*labels.tolist(), *labels.tolist()], 6)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6))
    alone = class_centres(original, None, labels, PEOPLE)
    torch.testing.assert_close(alone, torch.tensor(slow(original.tolist(), labels.tolist(), 6)), atol=1e-6, rtol=0)


def test_centres_of_rows_go_through_them_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    original, mirrored, labels = made()
    original[10], mirrored[10] = np.nan, np.nan
    labels[12] = -1
    monkeypatch.setattr(cached_rows, "PIECE", 7)
    monkeypatch.setattr(CachedRows, "all", None)
    rows = CachedRows.in_memory(original, mirrored)
    found = centres_of_rows(rows, labels, PEOPLE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, class_centres(original, mirrored, labels, PEOPLE), atol=1e-6, rtol=0)
    with pytest.raises(DataError, match="1 of 7 people has no readable image"):
        centres_of_rows(rows, labels, [*PEOPLE, "G"])


def test_length_of_an_embedding_does_not_count() -> None:
    original, mirrored, labels = made()
    lengths = np.linspace(0.1, 90, len(labels), dtype=np.float32)[:, None]
    torch.testing.assert_close(
        class_centres(original * lengths, mirrored, labels, PEOPLE), class_centres(original, mirrored, labels, PEOPLE)
    )


def test_half_precision_rows_are_summed_in_float32() -> None:
    original, mirrored, labels = made()
    found = class_centres(original.astype(np.float16), mirrored.astype(np.float16), labels, PEOPLE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, class_centres(original, mirrored, labels, PEOPLE), atol=2e-3, rtol=0)


def test_what_it_is_given_stays_as_it_is() -> None:
    original, mirrored, labels = made()
    before = original.copy(), mirrored.copy(), labels.copy()
    class_centres(original, mirrored, labels, PEOPLE)
    for now, then in zip((original, mirrored, labels), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_people_without_a_readable_image_are_named() -> None:
    original, mirrored, labels = made()
    for person in (2, 4):
        original[labels == person], mirrored[labels == person] = np.nan, np.nan
    with pytest.raises(DataError, match="2 of 6 people have no readable image; the first of them is 'C'"):
        class_centres(original, mirrored, labels, PEOPLE)
    with pytest.raises(DataError, match=r"the first of them is 'Cy\\x1b'"):
        class_centres(original, mirrored, labels, ["A", "B", "Cy\x1b", "D", "E", "F"])
    with pytest.raises(DataError, match="1 of 7 people has no readable image"):
        class_centres(*made(), [*PEOPLE, "G"])


def test_a_centre_without_a_direction_is_refused() -> None:
    original, mirrored, labels = made()
    original[labels == 3], mirrored[labels == 3] = 0, 0
    with pytest.raises(DataError, match="1 of 6 people has no class centre by this teacher"):
        class_centres(original, mirrored, labels, PEOPLE)
    original, mirrored, labels = made()
    one = np.flatnonzero(labels == 3)[0]
    labels[(labels == 3) & (np.arange(len(labels)) != one)] = -1
    mirrored[one] = -2 * original[one]
    with pytest.raises(DataError, match="cancel each other out"):
        class_centres(original, mirrored, labels, PEOPLE)
