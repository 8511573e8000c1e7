"""Open a data set by its path alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from facedistill.data.dataset import FaceDataset
from facedistill.data.exclusions import Exclusions, exclude
from facedistill.data.file_list import LIST_SUFFIXES, read_file_list
from facedistill.data.folder import FolderDataset
from facedistill.data.joined import JoinedDataset
from facedistill.data.records.dataset import RecDataset
from facedistill.data.shards.dataset import ShardDataset
from facedistill.data.subset import of_people
from facedistill.data.synthetic import SyntheticFaces
from facedistill.data.verification_bin import read_bin
from facedistill.errors import DataError, UsageError

MADE_UP = "made-up:"
_MOST_MADE_UP, _LARGEST_MADE_UP = 10_000_000, 1024

PathLike = str | Path


def open_dataset(
    data: PathLike | Sequence[PathLike],
    *,
    identities: Collection[str] | None = None,
    exclusions: Exclusions | None = None,
    note: Callable[[str], None] | None = None,
) -> FaceDataset:
    """The data set at a path, or several joined into one.

    | path | what it is |
    |---|---|
    | `faces/` | one sub-folder of images a person |
    | `faces.csv`, `.lst`, `.txt` | a list of image files, see `file_list` |
    | `train.rec`, or a folder with one `.rec` | MXNet RecordIO, as insightface publishes it |
    | `lfw.bin` | a verification set; its identities are those that its pairs tell |
    | `faces-000000.tar`, several, `faces-{000000..000012}.tar`, or a folder of them | tar shards of WebDataset |
    | `made-up:200x8` | 200 made-up people with 8 images each; `made-up:200x8,seed=1,size=64` |

    Args:
        data: one path or several.
        identities: keep these people only.
        exclusions: leave these images and people out.
        note: told what was assumed or left out.

    Raises:
        UsageError: there is nothing at a path, or a made-up set is described wrongly.
        DataError: what is there is no data set, or holds none of `identities`.
    """
    paths = [data] if isinstance(data, str | Path) else list(data)
    if not paths:
        raise UsageError("no data set is given")
    sources = _sources([str(path) for path in paths])
    parts = [
        ShardDataset(source) if len(source) > 1 else _open_one(source[0], note)  # several are always shards
        for source in sources
    ]
    dataset = parts[0] if len(parts) == 1 else JoinedDataset(parts, _part_names(sources))
    try:
        if identities is not None:
            dataset = of_people(dataset, identities)
        return dataset if exclusions is None else exclude(dataset, exclusions, note=note)
    except DataError as error:
        place = error.place or ", ".join(str(path) for path in paths)
        raise DataError(error.cause, place=place, next_step=error.next_step) from error


def _sources(names: list[str]) -> list[list[str]]:
    """What belongs together: a path each, but `.tar` files of one folder are one data set, whoever expanded their `*`.

    Raises:
        UsageError: a path is given twice.
    """
    resolved = [name if name.startswith(MADE_UP) else str(Path(name).resolve()) for name in names]
    for position, place in enumerate(resolved):
        if place in resolved[:position]:
            raise UsageError("the data set is given twice", place=names[position], next_step="Give it once")
    sources: dict[str, list[str]] = {}
    for name, place in zip(names, resolved, strict=True):
        is_tar = not name.startswith(MADE_UP) and place.lower().endswith(".tar") and not Path(place).is_dir()
        sources.setdefault(f"{Path(place).parent}/*.tar" if is_tar else place, []).append(name)
    return list(sources.values())


def _open_one(name: str, note: Callable[[str], None] | None) -> FaceDataset:
    if name.startswith(MADE_UP):
        return _made_up(name)
    path = Path(name)
    suffix = path.suffix.lower()
    if path.is_dir():
        return _open_folder(path, note)
    if suffix == ".tar" and "{" in path.name:
        return ShardDataset(path)
    if not path.exists():
        raise UsageError("there is no such data set", place=path)
    if suffix == ".tar":
        return ShardDataset(path)
    if suffix == ".rec":
        return RecDataset(path, note=note)
    if suffix == ".idx" and path.with_suffix(".rec").exists():
        return RecDataset(path.with_suffix(".rec"), note=note)
    if suffix == ".bin":
        return read_bin(path)
    if suffix in LIST_SUFFIXES:
        return read_file_list(path)
    raise DataError(
        f"a file that ends in '{suffix}' is no data set",
        place=path,
        next_step=f"Give a folder of crops, or a file that ends in .rec, .bin, .tar, {', '.join(LIST_SUFFIXES)}",
    )


def dataset_files(folder: Path) -> list[Path]:
    """The `.rec` and `.tar` files in a folder, which make it something else than a folder of images; sorted.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in (".rec", ".tar"))
    except OSError as error:
        raise DataError(f"the folder cannot be read ({error.strerror})", place=folder) from error


def _open_folder(path: Path, note: Callable[[str], None] | None) -> FaceDataset:
    """A folder of crops, unless it holds record files or tar shards."""
    files = dataset_files(path)
    if files and note is not None and any(e.is_dir() and not e.name.startswith(".") for e in path.iterdir()):
        note(f"{path} holds {files[0].name} and is opened as that; the folders beside it are not read")
    records = [file for file in files if file.suffix.lower() == ".rec"]
    if len(records) > 1:
        names = ", ".join(file.name for file in records[:3])
        raise DataError(
            f"the folder holds {len(records)} .rec files ({names})", place=path, next_step="Name one of them"
        )
    if records:
        return RecDataset(records[0], note=note)
    return ShardDataset(path) if files else FolderDataset(path)


def _made_up(name: str) -> SyntheticFaces:
    counts, *settings = name.removeprefix(MADE_UP).split(",")
    matched = re.fullmatch(r"(\d+)x(\d+)", counts)
    values: dict[str, float] = {}
    try:
        if matched is None:
            raise ValueError("the people and their images are missing")
        people, images = (int(count) for count in matched.groups())
        for setting in settings:
            key, _, value = setting.partition("=")
            if key not in ("seed", "size", "first", "difficulty"):
                raise ValueError(f"there is no '{key}'")
            values[key] = float(value) if key == "difficulty" else int(value)
        size = int(values.get("size", 112))
        if people * images > _MOST_MADE_UP or size > _LARGEST_MADE_UP:
            raise ValueError(f"at most {_MOST_MADE_UP:,} images of {_LARGEST_MADE_UP} pixels are drawn")
        return SyntheticFaces(
            people,
            images,
            seed=int(values.get("seed", 0)),
            size=size,
            first_identity=int(values.get("first", 0)),
            difficulty=values.get("difficulty", 1.0),
        )
    except ValueError as error:
        raise UsageError(
            f"the made-up faces are described wrongly ({error})",
            place=name,
            next_step="Write made-up:PEOPLExIMAGES, such as made-up:200x8 or made-up:200x8,seed=1,size=64",
        ) from error


def _part_names(sources: list[list[str]]) -> list[str]:
    """A short, distinct name for each of several data sets."""
    names: list[str] = []
    for first, *others in sources:
        path = Path(first).resolve()
        name = first if first.startswith(MADE_UP) else path.parent.name if others else path.stem
        number = 2
        distinct = name
        while distinct in names:
            distinct, number = f"{name}-{number}", number + 1
        names.append(distinct)
    return names
