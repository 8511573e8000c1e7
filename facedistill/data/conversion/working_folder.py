"""The hidden folder beside a result in which that is written, and what conversions that were killed left of theirs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facedistill.shown_name import printable

REPLACED = "replaced"
"""Where the earlier result lies for the moment in which the new one takes its place."""

_LOCK = "lock"
_LONGEST = 200  # bytes; file systems allow 255, and more is added


@contextmanager
def working_folder(final: Path) -> Iterator[Path]:
    """A new folder beside `final`, removed at the end; a lock tells others that its process is alive.

    What lies in it as `REPLACED` goes back to `final` if nothing has taken that place.

    Raises:
        OSError: it cannot be made.
    """
    work = Path(tempfile.mkdtemp(prefix=_prefix(final), suffix=".partial", dir=final.parent))
    lock = None
    try:
        lock = _locked(work / _LOCK)
        yield work
    finally:
        _clear(work, final)
        if lock is not None:
            os.close(lock)


def clear_leftovers(final: Path) -> list[str]:
    """Remove the working folders beside `final` whose process is surely dead; what a user should know of them.

    The kernel drops a lock with its process, however that ends, so a lock of this start of the system that can be
    had is a dead process's. Nothing can be said of another machine's on a shared disk, or of those before a restart,
    so such a folder stays and is named. An earlier result that was about to be replaced goes back into its place.
    """
    notes = []
    pattern = re.compile(re.escape(_prefix(final)) + r"[a-z0-9_]{8}\.partial")
    try:
        found = sorted(path for path in final.parent.iterdir() if pattern.fullmatch(path.name))
    except OSError:
        return []  # there is nothing yet, or what is wrong is said where the result is written
    for work in filter(_is_folder, found):
        dead = _is_dead(work / _LOCK)
        if dead:
            _clear(work, final)
        if dead is not False and _is_folder(work):
            notes.append(
                f"{printable(str(work))} was left by an interrupted conversion, or another machine is at work there; "
                "delete it if no conversion runs"
            )
            if _is_folder(work / REPLACED):
                notes[-1] += f", but keep the earlier result, its folder '{REPLACED}'"
    return notes


def _clear(work: Path, final: Path) -> None:
    """Remove a working folder, but for an earlier result in it whose place is empty: that goes back there."""
    if _is_folder(work / REPLACED) and not os.path.lexists(final):
        try:
            (work / REPLACED).rename(final)
        except OSError:
            return  # what cannot be put back is not thrown away either
    shutil.rmtree(work, ignore_errors=True)


def _prefix(final: Path) -> str:
    name = os.fsencode(final.name)
    return f".{final.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()}."


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _locked(path: Path) -> int | None:
    """An open file with a lock on it; None where the system or the disk has no locks."""
    start = _system_start()
    if sys.platform == "win32" or not start:
        return None
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Written only now: whoever can read this can trust the lock.
        os.write(descriptor, start)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_dead(lock: Path) -> bool | None:
    """Whether the process that held a lock has ended; None where that cannot be known."""
    start = _system_start()
    if sys.platform == "win32" or not start:
        return None
    import fcntl

    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.read(descriptor, len(start) + 1) != start:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    else:
        return True
    finally:
        os.close(descriptor)


def _system_start() -> bytes:
    """What tells one running system from all others, and from itself after a restart; empty where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return b""
