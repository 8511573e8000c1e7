"""Index a set of shards by stepping through the headers of all its members.

File format: WebDataset's convention. Members that follow one another and share their name up to the first dot of its
last part are one sample; its image is the member of an image type, its label the member `.cls` (decimal digits) or the
entry "label" or "identity" of the member `.json`.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from facedistill.data.shards.index import ShardIndex, ShardIndexBuilder, spelled
from facedistill.data.shards.key import image_key, is_image_type, split_name
from facedistill.data.shards.tar import TarMember, read_at, tar_members
from facedistill.errors import DataError
from facedistill.shown_name import shown_name

LONGEST_LABEL = {"cls": 64, "json": 1 << 16}
"""Bytes of a label member, by type; ours."""

_Sample = dict[str, TarMember]


def scan_shards(paths: Sequence[Path], *, progress: Callable[[int, int], None] | None = None) -> ShardIndex:
    """The index of uncompressed tar files; their images are not read.

    A key may occur once in the whole set, and all members of its sample must follow one another in one tar: caches
    and lists of exclusions know an image by its key. Members without an image are ignored as long as none is a `.cls`.

    Args:
        paths: the tar files.
        progress: called with (tars done, tars in all).

    Raises:
        DataError: a file is no tar or is damaged; a sample has two images, occurs twice, or has a label that cannot
            be read; or see `ShardIndexBuilder.finish`.
    """
    builder = ShardIndexBuilder(paths)
    digests = array("q")  # of all keys: 8 bytes each, where a set of them would take 100
    for shard, path in enumerate(paths):
        with path.open("rb") as stream:
            for key, members in _samples(stream.fileno(), path):
                digests.append(hash(key))
                _add(builder, shard, key, members, stream.fileno(), path)
        if progress is not None:
            progress(shard + 1, len(paths))
    _refuse_repeated(paths, digests)
    return builder.finish()


def _samples(descriptor: int, path: Path) -> Iterator[tuple[str, _Sample]]:
    """(key, members by type) of each run of members with one key."""
    current, members = "", _Sample()
    for member in tar_members(descriptor, path):
        key, kind = split_name(member.name)
        if not key:
            continue
        if key != current:
            if members:
                yield current, members
            current, members = key, {}
        if kind in members:
            raise _repeated(key, path, path)
        members[kind] = member
    if members:
        yield current, members


def _add(builder: ShardIndexBuilder, shard: int, key: str, members: _Sample, descriptor: int, path: Path) -> None:
    images = [kind for kind in members if is_image_type(kind)]
    if not images:
        if "cls" in members:
            raise DataError(
                f"the sample '{shown_name(key)}' has a label and no image",
                place=spelled(path),
                next_step="The members of a sample must follow one another: write the tar with its names sorted",
            )
        return
    if len(images) > 1:
        raise DataError(
            f"the sample '{shown_name(key)}' has two images, .{images[0]} and .{images[1]}",
            place=spelled(path),
            next_step="Give each a sample of its own",
        )
    image = members[images[0]]
    # The suffix as it is spelled in the tar, which may be .JPG.
    try:
        name = image_key(key, image.name[-len(images[0]) :])
    except DataError as error:
        raise DataError(error.cause, place=spelled(path), next_step=error.next_step) from error
    builder.add(shard, name, image.offset, image.size, _label(key, members, descriptor, path))


def _label(key: str, members: _Sample, descriptor: int, path: Path) -> str | None:
    kind = "cls" if "cls" in members else "json"
    member = members.get(kind)
    if member is None:
        return None
    if member.size <= LONGEST_LABEL[kind]:
        text = read_at(descriptor, member.size, member.offset)
        if kind == "json":
            readable, label = _json_label(text)
            if readable:
                return label
        elif (digits := text.strip()).isdigit() and len(digits) <= 19:
            return str(int(digits))
    raise DataError(
        f"the label of the sample '{shown_name(key)}' cannot be read",
        place=spelled(path),
        next_step='Expected: decimal digits in .cls, or {"label": ...} in .json with a number from 0 or a text',
    )


def _json_label(text: bytes) -> tuple[bool, str | None]:
    """Whether it can be read, and the label, None where there is no entry for it."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return False, None
    if not isinstance(content, dict):
        return False, None
    label = content.get("label", content.get("identity"))
    if label is None or (isinstance(label, str) and label):
        return True, label
    return (True, str(label)) if type(label) is int and 0 <= label < 10**19 else (False, None)


def _refuse_repeated(paths: Sequence[Path], digests: array[int]) -> None:
    """DataError where a key occurs twice; only then, or where two hashes fall together, are the tars read again."""
    values, counts = np.unique(np.frombuffer(digests, dtype=np.int64), return_counts=True)
    suspects = set(values[counts > 1].tolist())
    seen: dict[str, Path] = {}
    for path in paths if suspects else ():
        with path.open("rb") as stream:
            for key, _ in _samples(stream.fileno(), path):
                if hash(key) in suspects:
                    if key in seen:
                        raise _repeated(key, seen[key], path)
                    seen[key] = path


def _repeated(key: str, first: Path, second: Path) -> DataError:
    where = "" if first == second else f" here and in {spelled(second)}"
    return DataError(
        f"the sample '{shown_name(key)}' occurs twice{where}, or its members do not follow one another",
        place=spelled(first),
        next_step="Write each sample once, with its members side by side, under a key that no other tar uses",
    )
