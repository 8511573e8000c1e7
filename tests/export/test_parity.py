from __future__ import annotations

import numpy as np
import pytest

from facedistill.errors import GateError
from facedistill.export.options import Precision
from facedistill.export.parity import Parity, hold_parity, measure_parity
from facedistill.preprocessing import Preprocessing


class Table:
    """Embeds an image of one pixel value as the row of that number."""

    name, fingerprint, preprocessing = "table", "", Preprocessing(size=1)

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.embedding_size = rows.astype(np.float32), rows.shape[1]
        self.asked: list[int] = []

    def embed(self, images: np.ndarray) -> np.ndarray:
        self.asked.append(len(images))
        return self.rows[images[:, 0, 0, 0]]


IMAGES = np.arange(3, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)


def test_figures_by_hand() -> None:
    expected = np.array([[2, 0], [0, 3], [3, 4]], np.float32)
    table = Table(np.array([[1, 0], [0, 1], [4, 3]]))
    parity = measure_parity(expected, table, IMAGES, "numbers", batches=(1, 2, 64))
    assert table.asked == [1, 2, 3] == list(parity.batches)
    # The cosine of (3, 4) and (4, 3) is 24 / 25; the six rows of the three batches are otherwise right.
    assert parity.lowest_cosine == pytest.approx(0.96)
    assert parity.mean_cosine == pytest.approx((5 + 0.96) / 6)
    assert parity.largest_difference == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1, 0], [0, np.nan], [1, 1]], "not finite"),
        ([[1, 0], [0, 0], [1, 1]], "all zero"),
        ([[1, 1], [2, 2], [3, 3]], "one embedding"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], r"gives \(1, 3\), not \(1, 2\)"),
    ],
)
def test_what_is_no_direction(rows: list[list[float]], said: str) -> None:
    with pytest.raises(GateError, match=said):
        measure_parity(np.array([[2, 0], [0, 3], [3, 4]], np.float32), Table(np.array(rows)), IMAGES, "numbers")


def made(lowest: float = 1.0, mean: float = 1.0, difference: float = 0.0) -> Parity:
    return Parity("images", 3, (3,), lowest, mean, difference)


GOOD = made()


@pytest.mark.parametrize(
    ("precision", "of_noise", "of_crops", "holds"),
    [
        ("fp32", made(difference=1e-5), None, True),
        ("fp32", made(difference=1.1e-5), None, False),
        ("fp32", GOOD, made(difference=1.1e-5), False),
        ("fp32", made(difference=float("nan")), None, False),
        ("fp16", made(lowest=0.9999), GOOD, True),
        ("fp16", made(lowest=0.9998), GOOD, False),
        ("int8", made(mean=0.5), made(mean=0.98, lowest=0.9), True),
        ("int8", GOOD, made(mean=0.979), False),
        ("int8", GOOD, made(mean=float("nan")), False),
        ("int8-weights", made(mean=0.979), None, False),
        ("int8-weights", made(mean=0.98), None, True),
    ],
)
def test_what_a_precision_promises(
    precision: Precision, of_noise: Parity, of_crops: Parity | None, holds: bool
) -> None:
    if holds:
        hold_parity(precision, of_noise, of_crops)
        return
    with pytest.raises(GateError, match=f"in {precision} the"):
        hold_parity(precision, of_noise, of_crops)
