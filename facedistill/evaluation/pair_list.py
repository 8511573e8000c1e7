"""Pair lists over a folder of images: LFW's own format, and CSV.

LFW format (`pairs.txt`): a header of two numbers, folds and pairs of each class in a fold (`10 300`), or of one number
(`500`, a single set). For each fold, that many lines `name i j` of matched pairs follow, then as many lines
`name1 i name2 j` of mismatched ones. Image i of a person is `name/name_000i` with any image suffix.

CSV format: a header row that names `path_a`, `path_b`, `same` and, if there is one, `fold`; paths are relative to
the folder of images, flags are 1/0, true/false or same/different.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from facedistill.data.images import IMAGE_SUFFIXES, read_encoded, read_image
from facedistill.errors import DataError
from facedistill.evaluation.benchmark import Benchmark, made_folds

_FLAGS = {"1": True, "true": True, "same": True, "0": False, "false": False, "different": False}
_COLUMNS = ("path_a", "path_b", "same")


@dataclass(frozen=True)
class ImageFiles:
    """Image files under one folder, by their relative paths."""

    folder: Path
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; raises DataError where it cannot be decoded."""
        return read_image(self.folder / self.paths[index])

    def encoded(self, index: int) -> bytes:
        """The bytes of the file; DataError where it cannot be read."""
        return read_encoded(self.folder / self.paths[index])

    def key(self, index: int) -> str:
        """The path relative to the folder."""
        return self.paths[index]


def load_pair_list(path: Path, images_dir: Path) -> Benchmark:
    """A pair list (LFW format or CSV) over the images of a folder.

    The list's own folds are kept; a list without folds gets 10 stratified ones.

    Raises:
        DataError: the list cannot be read, a line is malformed (named as file:line), images are missing, or a class
            has too few pairs.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"the pair list cannot be read ({error.strerror})", place=path) from error
    except UnicodeDecodeError as error:
        raise DataError("the pair list is no UTF-8 text", place=path) from error
    if not images_dir.is_dir():
        raise DataError("there is no such folder of images", place=images_dir, next_step="Check --images")
    lines = text.splitlines()
    listed = _parse(path, lines)
    same = np.array([pair.same for pair in listed], dtype=np.bool_)
    dataset, pairs = _find_images(path, listed, images_dir)
    folds, scheme = _own_folds(listed) or made_folds(same, place=path)
    return Benchmark(path.stem, dataset, pairs, same, folds, scheme, path, hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class _Pair:
    """One line of a list: the images as the list names them (without a suffix in LFW's format)."""

    first: str
    second: str
    same: bool
    fold: str | None


def _own_folds(listed: list[_Pair]) -> tuple[npt.NDArray[np.int64], str] | None:
    """(P,) fold of each pair as the list gives it, numbered in order, and a description; None where it gives none."""
    names = [pair.fold for pair in listed if pair.fold is not None]
    if not names:
        return None
    numeric = all(name.isascii() and name.isdigit() for name in names)
    order = {name: number for number, name in enumerate(sorted(set(names), key=int if numeric else None))}
    return np.array([order[name] for name in names], dtype=np.int64), f"the list's own {len(order)} folds"


def _parse(path: Path, lines: list[str]) -> list[_Pair]:
    header = next((line for line in lines if line.strip()), "")
    numbers = header.split()
    if numbers and len(numbers) <= 2 and all(number.isascii() and number.isdigit() for number in numbers):
        return list(_parse_lfw(path, lines))
    if "," in header:
        return list(_parse_csv(path, lines))
    raise DataError(
        "its first line is no header of a pair list" if header else "the pair list is empty",
        place=path,
        next_step="Begin with '10<TAB>300' (LFW: folds, pairs of a class) or with 'path_a,path_b,same' (CSV)",
    )


def _parse_lfw(path: Path, lines: list[str]) -> Iterator[_Pair]:
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
        yield _Pair(first, second, same, None if folds == 1 else str(fold))


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


def _parse_csv(path: Path, lines: list[str]) -> Iterator[_Pair]:
    reader = csv.DictReader(lines, skipinitialspace=True)
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
        yield _Pair(paths[0], paths[1], _FLAGS[flag], fold)


@dataclass
class _Folder:
    """Looks images up below a folder, with any suffix, reading each directory once."""

    root: Path
    _stems: dict[str, dict[str, str]] = field(default_factory=dict)

    def find(self, wanted: str) -> str | None:
        """The relative path of `wanted`: itself, or its stem with an image suffix."""
        path = PurePosixPath(wanted)
        has_suffix = path.suffix.lower() in IMAGE_SUFFIXES
        if has_suffix and (self.root / path).is_file():
            return wanted
        if has_suffix:
            path = path.with_suffix("")
        # Names of LFW's format hold the person, so they are found in a flat folder, too; `a/1.jpg` of a CSV is not.
        for parent in (path.parent.as_posix(),) if has_suffix else (path.parent.as_posix(), "."):
            name = self._directory(parent).get(path.name)
            if name is not None:
                return (PurePosixPath(parent) / name).as_posix()
        return None

    def _directory(self, parent: str) -> dict[str, str]:
        """Stem -> file name of the images in a directory below the root."""
        if parent not in self._stems:
            directory = self.root / parent
            files = sorted(directory.iterdir(), reverse=True) if directory.is_dir() else []
            self._stems[parent] = {file.stem: file.name for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
        return self._stems[parent]


def _find_images(path: Path, listed: list[_Pair], images_dir: Path) -> tuple[ImageFiles, npt.NDArray[np.int64]]:
    """The unique images of a list and (P, 2) indices into them; DataError where any is missing."""
    folder = _Folder(images_dir)
    wanted = dict.fromkeys(name for pair in listed for name in (pair.first, pair.second))
    found = {name: folder.find(name) for name in wanted}
    missing = [name for name, file in found.items() if file is None]
    if missing:
        examples = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        hint = "None is there: --images may point to the wrong folder" if len(missing) == len(found) else None
        looked = f"Looked in {images_dir} for {missing[0]} with {', '.join(sorted(IMAGE_SUFFIXES))}"
        raise DataError(
            f"{len(missing)} of its {len(found)} images are missing: {examples}",
            place=path,
            next_step=looked if hint is None else f"{looked}. {hint}",
        )
    files = dict.fromkeys(file for file in found.values() if file is not None)
    index = {file: position for position, file in enumerate(files)}
    pairs = [(index[str(found[pair.first])], index[str(found[pair.second])]) for pair in listed]
    return ImageFiles(images_dir, tuple(files)), np.array(pairs, dtype=np.int64).reshape(-1, 2)
