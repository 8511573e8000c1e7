"""A list of people: one name a line, or LFW's `name<TAB>count` with a count line first."""

from __future__ import annotations

from pathlib import Path

from facedistill.errors import DataError, UsageError


def read_identities(path: Path) -> set[str]:
    """The names in the file at `path`.

    Accepts one name a line, and LFW's people lists: lines `name<TAB>number of images`, with lines of a single
    number (the count of people, or of sets) left out.

    Raises:
        UsageError: there is no such file.
        DataError: the file cannot be read or names nobody.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError("there is no such list of identities", place=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list of identities cannot be read ({error})", place=path) from error
    names = {line.split("\t")[0].strip() for line in lines if line.strip() and not line.strip().isdigit()}
    if not names:
        raise DataError("the list of identities names nobody", place=path, next_step="Write one name a line")
    return names
