"""The values that pairs are sliced by: a column of the pair list's CSV, or a CSV of what the images are.

A column of numbers is cut into ranges. A CSV of images has a column `image` with the names of the pair list (with or
without an image suffix) and others, such as `group` or `age`: a pair of two images of one value has that value, one of
two values is called "A / B".
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from facedistill.errors import DataError, UsageError, unknown_name
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.pairs_text import without_suffix
from facedistill.shown_name import shown_name

BINS = 4
"""Ranges that a column of numbers is cut into (ours): quarters of the pairs or images."""

IMAGE = "image"
"""The column of image names."""

_OF_A_LIST = ("path_a", "path_b", "same", "fold")


@dataclass(frozen=True)
class SliceValues:
    """What `slice_pairs` takes.

    Args:
        values: (P,) one a pair, None where it has none.
        order: the different values in their order.
        column: its name.
        source: the file.
        source_sha256: its SHA-256, as hex.
    """

    values: tuple[str | None, ...]
    order: tuple[str, ...]
    column: str
    source: str
    source_sha256: str


def read_pair_values(path: Path, column: str, *, bins: int = BINS, edges: Sequence[float] | None = None) -> SliceValues:
    """A further column of a pair list in CSV, one value a pair in the order of the list.

    Args:
        path: the list.
        column: its name.
        bins: ranges that numbers are cut into, each with about as many pairs.
        edges: rising; where to cut numbers instead.

    Raises:
        UsageError: there is no such column, or the edges are not rising.
        DataError: the file cannot be read.
    """
    rows, columns, sha256 = _read(path)
    if "path_a" not in columns:
        raise UsageError("only a pair list in CSV has further columns to slice by", place=path)
    if column not in columns or column in _OF_A_LIST:
        raise unknown_name(f"column to slice by in {path.name}", column, [c for c in columns if c not in _OF_A_LIST])
    cells = [row[columns.index(column)] for row in rows]
    values, order = _cut(cells, column, bins, edges)
    return SliceValues(tuple(values), tuple(order), column, str(path), sha256)


def read_image_values(
    path: Path, column: str, judged: JudgedPairs, *, bins: int = BINS, edges: Sequence[float] | None = None
) -> SliceValues:
    """A column of a CSV of images, as values of pairs; numbers are cut into ranges of the images that the pairs name.

    Args:
        path: the CSV, with a column `image`.
        column: the name of the other.
        judged: the pairs, with their images.
        bins: ranges that numbers are cut into, each with about as many images.
        edges: rising; where to cut numbers instead.

    Raises:
        UsageError: there is no such column, or the edges are not rising.
        DataError: the file cannot be read, gives an image two values, or lacks images of the pairs.
    """
    if judged.images is None:
        raise UsageError("the pairs have no images that a table of images could name", place=path)
    rows, columns, sha256 = _read(path)
    if IMAGE not in columns:
        raise DataError(f"the header row lacks '{IMAGE}'", place=f"{path}:1", next_step="Name the column of images so")
    if column not in columns or column == IMAGE:
        raise unknown_name(f"column to slice by in {path.name}", column, [name for name in columns if name != IMAGE])
    cell_of: dict[str, str] = {}
    for row in rows:
        name, cell = without_suffix(row[columns.index(IMAGE)].replace("\\", "/")), row[columns.index(column)]
        if cell_of.setdefault(name, cell) != cell:
            raise DataError(f"the image '{shown_name(name)}' has two values of '{column}'", place=path)
    used, positions = np.unique(judged.pairs, return_inverse=True)
    names = [without_suffix(judged.images.key(int(index))) for index in used]
    missing = [shown_name(name) for name in names if name not in cell_of]
    if missing:
        examples = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{len(missing)} of the {len(names)} images of the pairs are missing: {examples}",
            place=path,
            next_step="Give every image a line; leave the cell empty where nothing is known",
        )
    values, order = _cut([cell_of[name] for name in names], column, bins, edges)
    rank = {value: number for number, value in enumerate(order)}
    of_pairs: list[str | None] = []
    across: set[tuple[int, int]] = set()
    for first, second in positions.reshape(-1, 2).tolist():
        one, other = values[first], values[second]
        if one is None or other is None:
            of_pairs.append(None)
            continue
        low, high = sorted((rank[one], rank[other]))
        if low != high:
            across.add((low, high))
        of_pairs.append(_both(order, low, high))
    return SliceValues(
        tuple(of_pairs), (*order, *(_both(order, *both) for both in sorted(across))), column, str(path), sha256
    )


def _both(order: Sequence[str], first: int, second: int) -> str:
    return order[first] if first == second else f"{order[first]} / {order[second]}"


def _read(path: Path) -> tuple[list[list[str]], list[str], str]:
    """The rows of a CSV as long as its header, the header, and the file's SHA-256."""
    try:
        content = path.read_bytes()
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True))
    except FileNotFoundError:
        raise UsageError("there is no such table", place=path) from None
    except OSError as error:
        raise DataError(f"the table cannot be read ({error.strerror})", place=path) from error
    except UnicodeDecodeError as error:
        raise DataError("the table is no UTF-8 text", place=path) from error
    except csv.Error as error:
        raise DataError(f"it is no CSV ({error})", place=path) from error
    # A blank line is no row, as in a pair list.
    rows = [[cell.strip() for cell in line] for line in lines if line]
    if len(rows) < 2:
        raise DataError("the table has no rows below a header", place=path)
    columns = rows.pop(0)
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise DataError(f"row {number} has {len(row)} fields and the header {len(columns)}", place=path)
    return rows, columns, hashlib.sha256(content).hexdigest()


def _cut(
    cells: Sequence[str], column: str, bins: int, edges: Sequence[float] | None
) -> tuple[list[str | None], list[str]]:
    """Cells -> values, None for empty ones, and the values' order; numbers of many kinds become ranges."""
    given = [cell for cell in cells if cell]
    numbers = _numbers(cell for cell in cells if cell)
    if edges is None and (numbers is None or len(set(numbers)) <= bins):
        order = sorted(set(given), key=None if numbers is None else float)
        return [cell or None for cell in cells], order
    if numbers is None:
        at_fault = next(cell for cell in given if _numbers([cell]) is None)
        raise UsageError(f"the column '{column}' cannot be cut at edges: '{shown_name(at_fault)}' is no number")
    if edges is None:
        # The outermost are no cuts; equal ones, of a frequent number, make one.
        cuts = np.unique(np.quantile(numbers, np.arange(1, bins) / bins, method="higher"))
        cuts = cuts[cuts > min(numbers)]
    else:
        cuts = np.array(edges, dtype=np.float64)
        if not len(cuts) or not np.isfinite(cuts).all() or (np.diff(cuts) <= 0).any():
            raise UsageError("the edges have to be rising numbers", place=column)
    spelled = [f"{cut:.15g}" for cut in cuts]
    order = [f"below {spelled[0]}"]
    order += [f"{low} to below {high}" for low, high in pairwise(spelled)]
    order += [f"{spelled[-1]} and above"]
    ranges = [order[int(np.searchsorted(cuts, float(cell), side="right"))] if cell else None for cell in cells]
    return ranges, [name for name in order if name in ranges]


def _numbers(cells: Iterable[str]) -> list[float] | None:
    """The cells as finite numbers; None where there is none or one is no number."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if numbers and all(math.isfinite(number) for number in numbers) else None
