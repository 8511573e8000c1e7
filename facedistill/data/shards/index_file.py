"""The index of a folder of shards as a file beside them, so that a set of millions opens without a scan.

File format: safetensors with the arrays of `ShardIndex`; the metadata holds one entry, named by the format, with JSON:
`identities`, the names; `tars`, the name, the size and a digest of three blocks of each tar file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from facedistill.data.shards.index import ShardIndex
from facedistill.files import write_atomically

INDEX_NAME = "index.safetensors"
FORMAT = "facedistill shard index 1"

_ARRAYS = ("shards", "offsets", "lengths", "labels", "key_ends")
_PROBE = 4096


def write_shard_index(folder: Path, index: ShardIndex, tars: Sequence[Path]) -> None:
    """Write the index of all the tar files of a folder."""
    arrays = {name: np.ascontiguousarray(getattr(index, name)) for name in (*_ARRAYS, "key_text")}
    facts = {"identities": index.identities, "tars": [[path.name, *_facts(path)] for path in tars]}
    # One entry, since safetensors writes several in an order that changes.
    write_atomically(folder / INDEX_NAME, safetensors.numpy.save(arrays, {FORMAT: json.dumps(facts)}))


def read_shard_index(tars: Sequence[Path]) -> ShardIndex | None:
    """The index beside the tar files; None where there is none that was written for just these, or it is damaged."""
    path = tars[0].parent / INDEX_NAME
    if not path.is_file() or any(tar.parent != path.parent for tar in tars):
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as stream:
            facts = json.loads((stream.metadata() or {})[FORMAT])
            if facts["tars"] != [[tar.name, *_facts(tar)] for tar in tars]:
                return None
            arrays = {name: stream.get_tensor(name) for name in (*_ARRAYS, "key_text")}
            index = ShardIndex(**arrays, identities=facts["identities"])
    except (OSError, LookupError, TypeError, ValueError, RecursionError, safetensors.SafetensorError):
        return None
    return index if _holds_together(index, [entry[1] for entry in facts["tars"]]) else None


def _facts(tar: Path) -> tuple[int, str]:
    """The size of a tar and a digest of its start, middle and end: what a copy keeps, unlike the time."""
    size = tar.stat().st_size
    digest = hashlib.sha256()
    with tar.open("rb") as stream:
        for start in (0, size // 2, max(size - _PROBE, 0)):
            stream.seek(start)
            digest.update(stream.read(_PROBE))
    return size, digest.hexdigest()


def _holds_together(index: ShardIndex, sizes: list[int]) -> bool:
    """Whether every array is what `ShardIndex` says, and every image lies inside its tar."""
    arrays = [getattr(index, name) for name in _ARRAYS]
    count = len(index.shards) if index.shards.ndim == 1 else 0
    if not count or any(array.shape != (count,) or array.dtype != np.int64 for array in arrays):
        return False
    if index.key_text.ndim != 1 or index.key_text.dtype != np.uint8 or min(array.min() for array in arrays) < 0:
        return False
    if (np.diff(index.shards) < 0).any() or index.shards[-1] >= len(sizes):
        return False
    if (np.diff(index.key_ends) < 0).any() or index.key_ends[-1] != len(index.key_text):
        return False
    room = np.array(sizes, dtype=np.int64)[index.shards]
    if (index.lengths > room).any() or (index.offsets > room - index.lengths).any():
        return False
    names = index.identities
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    return index.labels.max() < len(names) and len(np.unique(index.labels)) == len(names)
