"""The pairs on which models disagree, as a picture: both faces, each model's cosine, and who is right."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from facedistill.data.image_source import ImageSource
from facedistill.data.images import write_image
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.comparison.benchmark_comparison import BenchmarkComparison
from facedistill.evaluation.metrics import cosine_of
from facedistill.shown_name import shown_name

PAIRS = 24
"""Pairs on a sheet (ours)."""

_COLUMNS = 4
_FACE = 128
_GAP = 4
_MARGIN = 24
_LINE = 20
_ASCENT = 12
_DPI = 100
_PIXELS_A_POINT = _DPI / 72
_RIGHT, _WRONG, _PLAIN, _FAINT = "#1a7f37", "#c62828", "#1f2328", "#656d76"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class _Disagreement:
    """A pair of one of the benchmarks, and how clearly the models differ on it."""

    benchmark: BenchmarkComparison
    pair: int
    clearness: float


def check_sheet_path(path: Path) -> None:
    """Raise UsageError where `path` is no .png; to be called before the work."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"the sheet cannot be written as '{path.suffix}'", place=path, next_step="Use .png")


def draw_sheet(benchmarks: Sequence[BenchmarkComparison], path: Path, *, most: int = PAIRS) -> int:
    """Write the pairs that some model gets right and another wrong, the clearest first; gives how many are shown.

    A disagreement is the clearer, the farther the model that is surest of the right answer and the one that is surest
    of the wrong one are from their thresholds. Nothing is written where there is none, or where there are no images.

    Args:
        benchmarks: of the same models.
        path: the .png file; its folder is made where it is missing.
        most: pairs that are shown.

    Raises:
        UsageError: `path` is no .png.
    """
    check_sheet_path(path)
    found = [each for benchmark in benchmarks for each in _disagreements(benchmark)]
    chosen = sorted(found, key=lambda each: -each.clearness)[:most]
    if chosen:
        write_image(path, _draw(chosen, of=len(found), benchmarks=len(benchmarks)))
    return len(chosen)


def _disagreements(benchmark: BenchmarkComparison) -> list[_Disagreement]:
    judged = benchmark.results[0].judged
    if judged is None or judged.images is None:
        return []
    right = np.stack([decisions.right for decisions in benchmark.decisions])
    distances = np.stack([result.judged.distances for result in benchmark.results if result.judged is not None])
    margins = np.abs(distances - np.stack([decisions.thresholds for decisions in benchmark.decisions]))
    clearness = np.where(right, margins, 0).max(axis=0) + np.where(right, 0, margins).max(axis=0)
    split = right.any(axis=0) & ~right.all(axis=0)
    return [_Disagreement(benchmark, int(pair), float(clearness[pair])) for pair in np.flatnonzero(split)]


def _draw(chosen: Sequence[_Disagreement], *, of: int, benchmarks: int) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB."""
    names = chosen[0].benchmark.names
    lines = 1 + len(names) + (benchmarks > 1)
    tile = (2 * _FACE + _GAP, _FACE + 8 + lines * _LINE)
    rows = -(-len(chosen) // _COLUMNS)
    head = _MARGIN + (2 + len(names)) * _LINE + 8
    width = _MARGIN + _COLUMNS * (tile[0] + _MARGIN)
    height = head + rows * (tile[1] + _MARGIN)
    sheet = _Sheet(width, height)
    sheet.text(_MARGIN, _MARGIN, f"{len(chosen)} of {of:,} pairs that the models decide differently", bold=True)
    for number, name in enumerate(names):
        sheet.text(_MARGIN, _MARGIN + (1 + number) * _LINE, f"{_LETTERS[number % 26]}   {shown_name(name)}")
    below = _MARGIN + (1 + len(names)) * _LINE
    sheet.text(
        _MARGIN,
        below,
        "cosine of the pair, the cosine from which on the model accepts, and whether it is right",
        color=_FAINT,
    )
    for place, each in enumerate(chosen):
        row, column = divmod(place, _COLUMNS)
        x, y = _MARGIN + column * (tile[0] + _MARGIN), head + row * (tile[1] + _MARGIN)
        _draw_pair(sheet, each, x, y, named=benchmarks > 1)
    return sheet.pixels()


def _draw_pair(sheet: _Sheet, each: _Disagreement, x: int, y: int, *, named: bool) -> None:
    judged = each.benchmark.results[0].judged
    assert judged is not None  # noqa: S101 - so it was found
    assert judged.images is not None  # noqa: S101
    for side, image in enumerate(judged.pairs[each.pair].tolist()):
        left = x + side * (_FACE + _GAP)
        face = _face(judged.images, image)
        if face is None:
            sheet.box(left, y)
            sheet.text(left + 12, y + _FACE // 2, "cannot be read", color=_FAINT)
        else:
            sheet.picture(left, y, face)
    same = bool(judged.same[each.pair])
    line = y + _FACE + 8
    sheet.text(x, line, "one person (genuine)" if same else "two people (impostor)", bold=True)
    for number, (result, decisions) in enumerate(zip(each.benchmark.results, each.benchmark.decisions, strict=True)):
        assert result.judged is not None  # noqa: S101
        line += _LINE
        cosine, threshold = (
            cosine_of(float(values[each.pair])) for values in (result.judged.distances, decisions.thresholds)
        )
        right = bool(decisions.right[each.pair])
        sheet.text(x, line, _LETTERS[number % 26], bold=True)
        sheet.text(x + 22, line, f"{cosine:+.3f}")
        sheet.text(x + 86, line, f"from {threshold:+.3f}", color=_FAINT)
        sheet.text(x + 184, line, "right" if right else "wrong", color=_RIGHT if right else _WRONG, bold=True)
    if named:
        sheet.text(x, line + _LINE, shown_name(each.benchmark.name)[:32], color=_FAINT)


def _face(images: ImageSource, index: int) -> npt.NDArray[np.uint8] | None:
    """The image with its longer side `_FACE` pixels; None where it cannot be read."""
    try:
        image = images.image(index)
    except DataError:
        return None
    height, width = image.shape[:2]
    scale = _FACE / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)


class _Sheet:
    """A white picture addressed in pixels from its upper left corner; matplotlib sets the text."""

    def __init__(self, width: int, height: int) -> None:
        # Half a pixel more, since matplotlib cuts off what is left of one.
        inches = ((width + 0.5) / _DPI, (height + 0.5) / _DPI)
        self._figure = Figure(figsize=inches, dpi=_DPI, facecolor="white")
        self._pictures: list[tuple[int, int, npt.NDArray[np.uint8]]] = []
        self._size = (width, height)

    def text(self, x: int, y: int, text: str, *, color: str = _PLAIN, bold: bool = False) -> None:
        """A line that begins there, `y` being a line's top; text from data is not read as formulas."""
        self._figure.text(
            x / self._size[0],
            1 - (y + _ASCENT) / self._size[1],
            text,
            fontsize=13 / _PIXELS_A_POINT,
            color=color,
            fontweight="bold" if bold else "normal",
            parse_math=False,
        )

    def picture(self, x: int, y: int, image: npt.NDArray[np.uint8]) -> None:
        """Pixels as they are."""
        self._pictures.append((x, y, image))

    def box(self, x: int, y: int) -> None:
        """A grey square in the place of a face."""
        self._pictures.append((x, y, np.full((_FACE, _FACE, 3), 235, dtype=np.uint8)))

    def pixels(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        buffer = io.BytesIO()
        self._figure.savefig(buffer, format="rgba")
        width, height = self._size
        drawn = np.frombuffer(buffer.getvalue(), dtype=np.uint8).reshape(height, width, 4)[..., :3].copy()
        for x, y, image in self._pictures:
            part = drawn[y : y + image.shape[0], x : x + image.shape[1]]
            # Text over a box stays: the darker of both.
            part[...] = np.minimum(part, image)
        return drawn
