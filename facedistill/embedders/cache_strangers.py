"""What a folder may hold for a cache to be made in it: nothing that is anybody else's is ever written over."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facedistill.embedders.cache_manifest import DIRECTIONS, LOCK, MANIFEST, OWN_NAMES, is_own_manifest
from facedistill.errors import UsageError
from facedistill.shown_name import shown_name


def refuse_strangers(out: Path) -> None:
    """UsageError where a folder holds anything but a cache, or what was left of one that was only begun.

    The names of a cache's files are common ones, so that a name alone proves nothing: the manifest has to be one of
    ours, and without a manifest there has to be the file that is made first and removed last, `directions.npy`.

    Args:
        out: a folder.
    """
    names = {path.name for path in out.iterdir()}
    strangers = sorted(names - OWN_NAMES)
    if not strangers and MANIFEST in names:
        strangers = [] if is_own_manifest(out / MANIFEST) else [MANIFEST]
    elif not strangers and not _is_begun(out / DIRECTIONS, alone=names <= {DIRECTIONS, LOCK}):
        # The lock of a cache is empty; locking would empty another.
        strangers = sorted(name for name in names if name != LOCK or _length(out / LOCK))
    if strangers:
        raise UsageError(
            f"the folder holds something else than a cache, '{shown_name(strangers[0])}', so it is left alone",
            place=out,
            next_step="Use another name",
        )


def _is_begun(file: Path, *, alone: bool) -> bool:
    """Whether a file is the `directions.npy` of a cache; `alone`, it may be without a single byte after a kill."""
    try:
        with file.open("rb") as stream:
            if alone and _length(file) == 0:
                return True
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except (OSError, ValueError, EOFError):
        return False
    return len(shape) == 3 and shape[1] == 2 and dtype == np.dtype(np.float16)


def _length(file: Path) -> int:
    """In bytes; a folder's, and that of what cannot be looked at, is 1."""
    return file.stat().st_size if file.is_file() else 1
