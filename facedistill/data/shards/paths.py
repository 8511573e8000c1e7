"""Which tar files a set of shards is: a file, a folder, a list of them, or WebDataset's brace notation."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from facedistill.data.shards.index import spelled
from facedistill.errors import DataError

MOST_SHARDS = 100_000
"""What a brace notation may stand for; ours, it keeps a slip of the keyboard from filling the memory."""

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAGIC = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ\0": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")


def is_brace_notation(path: str | Path) -> bool:
    """Whether a path holds a range of numbers such as {000000..000012}."""
    return _RANGE.search(str(path)) is not None


def expand_braces(text: str) -> list[str]:
    """`faces-{000000..000012}.tar` as its 13 names; several ranges make all combinations, the last one fastest.

    As in a shell, a number that starts with 0 sets the width of all numbers of its range.

    Raises:
        DataError: a range runs backwards, or there are more than `MOST_SHARDS` names.
    """
    parts = _RANGE.split(text)
    choices: list[list[str]] = []
    total = 1
    for first, last in zip(parts[1::3], parts[2::3], strict=True):
        count = int(last[:20]) - int(first[:20]) + 1
        total *= count
        if not 0 < total <= MOST_SHARDS:
            raise DataError(
                f"the range {{{first}..{last}}} is not one of 1 to {MOST_SHARDS:,} files",
                place=text,
                next_step="Write it as in faces-{000000..000012}.tar",
            )
        width = max(len(number) if number.startswith("0") else 0 for number in (first, last))
        choices.append([f"{number:0{width}d}" for number in range(int(first), int(last) + 1)])
    fixed = parts[::3]
    return [
        fixed[0] + "".join(number + rest for number, rest in zip(numbers, fixed[1:], strict=True))
        for numbers in itertools.product(*choices)
    ]


def find_shards(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """The tar files of a set, in order: those of a folder by name, others as they are given.

    Raises:
        DataError: a file is missing, compressed, empty or given twice, or there is none.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    found = [path for item in sources for path in _of_one(Path(item))]
    if not found:
        raise DataError("no tar file is given")
    for path in found:
        _check(path)
    repeated = next((path for path, count in _counted(found) if count > 1), None)
    if repeated is not None:
        raise DataError("the tar file is given twice", place=spelled(repeated))
    return found


def _of_one(path: Path) -> list[Path]:
    if path.is_dir():
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        tars = [entry for entry in entries if entry.name.lower().endswith(".tar")]
        packed = next((entry for entry in entries if entry.name.lower().endswith(_COMPRESSED)), None)
        if not tars and packed is not None:
            raise _compressed(packed, "an unpacker")
        if not tars:
            raise DataError("the folder holds no .tar files", place=path)
        return tars
    if is_brace_notation(path) and not path.exists():
        return [Path(name) for name in expand_braces(str(path))]
    return [path]


def _check(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise DataError(f"the tar file cannot be read ({error.strerror})", place=spelled(path)) from error
    for magic, tool in _MAGIC.items():
        if start.startswith(magic):
            raise _compressed(path, tool)
    if not start:
        raise DataError("the tar file is empty", place=spelled(path))


def _compressed(path: Path, tool: str) -> DataError:
    return DataError(
        "the tar file is compressed, so that no image of it can be read by itself",
        place=spelled(path),
        next_step=f"Unpack it first, with {tool} for example; images hardly shrink by it anyway",
    )


def _counted(paths: list[Path]) -> list[tuple[Path, int]]:
    counts: dict[Path, int] = {}
    for path in paths:
        counts[path] = counts.get(path, 0) + 1
    return list(counts.items())
