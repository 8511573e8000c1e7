"""Where a converted data set goes: its format, and what is never overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facedistill.errors import UsageError, unknown_name

FORMATS = ("folder", "rec", "bin", "shards")

MARKER = ".facedistill-convert.json"
"""The file by which a folder of ours is known, so that nothing else is ever deleted; hidden, so no reader sees it."""

# A folder that ends so was meant to be something else.
_NO_FOLDER = frozenset({".tar", ".idx", ".lst", ".csv", ".txt", ".zip", ".gz", ".tgz", ".npz", ".lmdb", ".h5"})


@dataclass(frozen=True)
class Target:
    """Where a conversion goes.

    Args:
        path: the folder of images or of shards, the `.rec` or the `.bin` file.
        format: one of `FORMATS`.
    """

    path: Path
    format: str

    @property
    def is_folder(self) -> bool:
        """Whether the whole folder is ours rather than files in it."""
        return self.format in ("folder", "shards")

    @property
    def files(self) -> list[Path]:
        """The files that are written where it is no folder, in the order in which they are put into place."""
        if self.format == "bin":
            return [self.path]
        return [self.path.with_name("property"), *(self.path.with_suffix(end) for end in (".lst", ".idx", ".rec"))]


def choose_target(out: Path, to: str | None = None) -> Target:
    """What `out` is to be: by its suffix `.rec` or `.bin`, a folder of images otherwise; `to` says it outright.

    With `to` "rec" and an `out` without that suffix it is `out/train.rec`, the way data sets are published.

    Raises:
        UsageError: an unknown format, or a suffix that does not go with it.
    """
    if to is not None and to not in FORMATS:
        raise unknown_name("format", to, FORMATS)
    suffix = out.suffix.lower()
    if to is None:
        if suffix in _NO_FOLDER:
            raise UsageError(
                f"a name that ends in '{suffix}' is no folder of images",
                place=out,
                next_step="Name a folder, a .rec or a .bin file; with --to shards a folder of tar files is written",
            )
        to = suffix[1:] if suffix in (".rec", ".bin") else "folder"
    if to == "rec" and suffix != ".rec":
        return Target(out / "train.rec", to)
    if to == "bin" and suffix != ".bin":
        raise UsageError("a verification set ends in .bin", place=out)
    return Target(out, to)


def check_target(target: Target, *, overwrite: bool, sources: Sequence[str] = ()) -> None:
    """Refuse a place where something would be lost.

    A folder is replaced with `overwrite` only if an earlier conversion made it and nothing was added to it since.

    Args:
        target: where the data set is to go.
        overwrite: whether an earlier result may be replaced.
        sources: the paths of the data set that is converted.

    Raises:
        UsageError: something is there already, or the place is the data set's own.
    """
    path = target.path
    _check_apart(target, sources)
    if not target.is_folder:
        _check_files(target, overwrite=overwrite)
        return
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError("there is a file or a link of that name", place=path, next_step="Choose another name")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not (path / MARKER).is_file():
        raise UsageError(
            "the folder is not empty, and it was not written by facedistill convert",
            place=path,
            next_step="Choose another name",
        )
    if not overwrite:
        raise UsageError("the folder holds an earlier result", place=path, next_step="Use --overwrite, or another name")
    if count_files(path) > _files_written(path / MARKER):
        raise UsageError(
            "files were added to the folder since it was written",
            place=path,
            next_step="Move them away, or choose another name",
        )


def count_files(folder: Path) -> int:
    """How many files lie below a folder."""
    return sum(len(files) for _, _, files in os.walk(folder) if files)


def _files_written(marker: Path) -> int:
    """How many files there were when the folder was written; 0 where the marker does not say."""
    try:
        return int(json.loads(marker.read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _check_files(target: Target, *, overwrite: bool) -> None:
    for file in target.files:
        if file.is_dir():
            raise UsageError("there is a folder of that name", place=file, next_step="Choose another name")
        if (file.exists() or file.is_symlink()) and not overwrite:
            raise UsageError("the file exists", place=file, next_step="Use --overwrite, or another name")
    folder = target.path.parent
    if target.format == "rec" and folder.is_dir():
        others = [file.name for file in sorted(folder.glob("*.rec")) if file.name != target.path.name]
        if others:
            raise UsageError(
                f"the folder holds {others[0]}, and two data sets cannot share its file 'property'",
                place=target.path,
                next_step="Choose a folder of its own",
            )


def _check_apart(target: Target, sources: Sequence[str]) -> None:
    written = [target.path] if target.is_folder else target.files
    for source in map(Path, sources):
        if not source.exists():
            continue
        real = source.resolve()
        for path in written:
            place = path.resolve()
            # A .bin file inside a folder of crops is in nobody's way.
            inside = real.is_dir() and place.is_relative_to(real) and target.format != "bin"
            if place == real or inside or (target.is_folder and real.is_relative_to(place)):
                raise UsageError(
                    f"the result and the data set {source} lie within one another",
                    place=target.path,
                    next_step="Choose a place outside",
                )
