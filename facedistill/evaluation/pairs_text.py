"""The text of a pair list: LFW's own format, and CSV.

LFW format (`pairs.txt`): a header of two numbers, folds and pairs of each class in a fold (`10 300`), or of one number
(`500`, a single set). For each fold, that many lines `name i j` of matched pairs follow, then as many lines
`name1 i name2 j` of mismatched ones. Image i of a person is `name/name_000i` with any image suffix.

CSV format: a header row that names `path_a`, `path_b`, `same` and, if there is one, `fold`; paths are relative to
the folder of images, flags are 1/0, true/false or same/different.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facedistill.data.images import IMAGE_SUFFIXES
from facedistill.errors import DataError, UsageError
from facedistill.shown_name import shown_name

_FLAGS = {"1": True, "true": True, "same": True, "0": False, "false": False, "different": False}
_COLUMNS = ("path_a", "path_b", "same")


@dataclass(frozen=True)
class ListedPair:
    """One line of a list: the images as the list names them (without a suffix in LFW's format)."""

    first: str
    second: str
    same: bool
    fold: str | None


def without_suffix(name: str) -> str:
    """A name less its image suffix, if it has one."""
    path = PurePosixPath(name)
    return name[: -len(path.suffix)] if path.suffix.lower() in IMAGE_SUFFIXES else name


def parse_pairs(path: Path, text: str) -> list[ListedPair]:
    """The pairs of a list, in its order; `path` is for messages.

    Raises:
        DataError: the text is no pair list, or a line is malformed (named as file:line).
    """
    header = next((line for line in text.splitlines() if line.strip()), "")
    numbers = header.split()
    if numbers and len(numbers) <= 2 and all(number.isascii() and number.isdigit() for number in numbers):
        return list(_parse_lfw(path, text.splitlines()))
    if "," in header:
        try:
            return list(_parse_csv(path, text))
        except csv.Error as error:
            raise DataError(f"it is no CSV ({error})", place=path) from error
    raise DataError(
        "its first line is no header of a pair list" if header else "the pair list is empty",
        place=path,
        next_step="Begin with '10<TAB>300' (LFW: folds, pairs of a class) or with 'path_a,path_b,same' (CSV)",
    )


def lfw_text(pairs: Sequence[ListedPair]) -> str:
    """Pairs in LFW's format; the folds must hold as many matched pairs, first, as mismatched ones, all alike.

    Raises:
        UsageError: an image is not called `name/name_0001` or so, with any suffix; the format cannot name it.
    """
    by_fold: dict[str | None, list[ListedPair]] = {}
    for pair in pairs:
        by_fold.setdefault(pair.fold, []).append(pair)
    each = len(pairs) // (2 * len(by_fold))
    lines = [f"{len(by_fold)}\t{each}"]
    for members in by_fold.values():
        for pair in members:
            first, second = _lfw_number(pair.first), _lfw_number(pair.second)
            fields = (*first, second[1]) if pair.same else (*first, *second)
            lines.append("\t".join(str(field) for field in fields))
    text = "\n".join(lines) + "\n"
    wanted = [(without_suffix(pair.first), without_suffix(pair.second)) for pair in pairs]
    if _read_names(text) != wanted:
        raise UsageError("a name holds what LFW's format cannot", next_step="Write a .csv list instead")
    return text


def _read_names(text: str) -> list[tuple[str, str]] | None:
    """The names of a list as a reader finds them, None where it cannot be read."""
    try:
        text.encode()
        return [(pair.first, pair.second) for pair in parse_pairs(Path("pairs"), text)]
    except (DataError, UnicodeEncodeError):
        return None


def csv_text(pairs: Sequence[ListedPair]) -> str:
    """Pairs as CSV, with the column `fold` where they have folds.

    Raises:
        DataError: an image's name cannot stand in such a list, for example because it is no valid text.
    """
    text = _csv(pairs)
    if _read_names(text) == [(pair.first, pair.second) for pair in pairs]:
        return text
    names = dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second))
    at_fault = [name for name in names if _read_names(_csv([ListedPair(name, "x", True, None)])) != [(name, "x")]]
    raise DataError(
        f"the name '{shown_name(next(iter(at_fault), ''))}' cannot stand in a pair list", next_step="Rename the image"
    )


def _csv(pairs: Sequence[ListedPair]) -> str:
    folds = [] if pairs and pairs[0].fold is None else ["fold"]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_COLUMNS, *folds])
    for pair in pairs:
        writer.writerow([pair.first, pair.second, int(pair.same), *([pair.fold] if folds else [])])
    return stream.getvalue()


def _lfw_number(key: str) -> tuple[str, int]:
    """`name/name_0001.jpg` -> (name, 1)."""
    person, _, file = key.rpartition("/")
    stem = without_suffix(file)
    number = stem.removeprefix(f"{person}_")
    if not person or not number.isascii() or not number.isdigit() or stem != f"{person}_{int(number):04d}":
        raise UsageError(
            f"LFW's format cannot name '{shown_name(key)}': its images are called name/name_0001.jpg",
            next_step="Write a .csv list instead",
        )
    return person, int(number)


def _parse_lfw(path: Path, lines: list[str]) -> Iterator[ListedPair]:
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    numbers = [int(word) for word in numbered[0][1].split()]
    folds, per_class = (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
    body = numbered[1:]
    if folds * per_class == 0 or len(body) != folds * per_class * 2:
        raise DataError(
            f"the header announces {folds} x 2 x {per_class} pairs and {len(body)} lines follow",
            place=f"{path}:{numbered[0][0]}",
        )
    for position, (number, line) in enumerate(body):
        fold, within = divmod(position, 2 * per_class)
        same = within < per_class
        first, second = _lfw_images(line, same, place=f"{path}:{number}")
        yield ListedPair(first, second, same, None if folds == 1 else str(fold))


def _lfw_images(line: str, same: bool, *, place: str) -> tuple[str, str]:
    words = line.split("\t") if "\t" in line else line.split()
    words = [word.strip() for word in words]
    wanted = "a matched pair 'name i j'" if same else "a mismatched pair 'name1 i name2 j'"
    if len(words) != (3 if same else 4):
        raise DataError(f"{wanted} is due here, and the line has {len(words)} fields", place=place)
    people, numbers = ([words[0]] * 2, words[1:]) if same else (words[0::2], words[1::2])
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise DataError(f"{wanted} is due here, and '{numbers[0]}', '{numbers[1]}' are no image numbers", place=place)
    if not same and people[0] == people[1]:
        raise DataError(f"a mismatched pair is due here, and both images are of '{people[0]}'", place=place)
    first, second = (f"{name}/{name}_{int(number):04d}" for name, number in zip(people, numbers, strict=True))
    return first, second


def _parse_csv(path: Path, text: str) -> Iterator[ListedPair]:
    # From the text rather than its lines, so that a quoted name may hold a line end.
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    columns = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    absent = [name for name in _COLUMNS if name not in columns]
    if absent:
        raise DataError(
            f"the header row lacks {', '.join(absent)}",
            place=f"{path}:1",
            next_step=f"It reads '{','.join(columns)}'; name the columns path_a,path_b,same[,fold]",
        )
    for row in reader:
        place = f"{path}:{reader.line_num}"
        if None in row or None in row.values():
            raise DataError(f"the line has not the header's {len(columns)} fields", place=place)
        flag = row["same"].strip().lower()
        if flag not in _FLAGS:
            raise DataError(f"the flag is '{row['same']}'", place=place, next_step=f"Use one of {', '.join(_FLAGS)}")
        paths = [PurePosixPath(row[name].strip().replace("\\", "/")).as_posix() for name in ("path_a", "path_b")]
        if "." in paths:
            raise DataError("a path is empty", place=place)
        fold = row["fold"].strip() if "fold" in columns else None
        if fold == "":
            raise DataError("the fold is empty", place=place)
        yield ListedPair(paths[0], paths[1], _FLAGS[flag], fold)
