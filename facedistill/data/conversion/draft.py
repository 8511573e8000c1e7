"""Write a result beside its place and put it there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facedistill.data.conversion.target import MARKER, Target, count_files
from facedistill.data.conversion.working_folder import REPLACED, working_folder
from facedistill.errors import DataError


@contextmanager
def whole_or_nothing(target: Target) -> Iterator[Path]:
    """A path to write to, on the same disk; what is there afterwards is put in the target's place.

    After an error, nothing has changed there. Of a `.rec` the files are moved one by one, the `.rec` last. An error of
    writing names the target and not the hidden place that it happened in.

    Raises:
        DataError: the place cannot be written.
    """
    final = target.path
    made = [folder for folder in final.parents if not os.path.lexists(folder)]
    draft: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with working_folder(final) as work:
            # In a folder of its own, since the result may be called as anything else in there.
            draft = work / "new" / final.name
            draft.parent.mkdir()
            yield draft
            _put_in_place(target, draft, work / REPLACED)
    except OSError as error:
        raise _cannot_be_written(error, final) from error
    except DataError as error:
        if draft is None or error.place is None or not Path(error.place).is_relative_to(draft.parent):
            raise
        system = error.__cause__ if isinstance(error.__cause__, OSError) else None
        if system is not None and _is_full(system):
            raise _cannot_be_written(system, final) from error
        place = final.parent / Path(error.place).relative_to(draft.parent)
        next_step = error.next_step or (None if system is None else _next_step(system))
        raise DataError(error.cause, place=place, next_step=next_step) from error
    finally:
        for folder in made:  # none that holds something is removed
            with suppress(OSError):
                folder.rmdir()


def _put_in_place(target: Target, draft: Path, replaced: Path) -> None:
    if target.is_folder:
        marker = {"written_by": "facedistill convert", "format": target.format, "files": 1 + count_files(draft)}
        (draft / MARKER).write_text(json.dumps(marker), encoding="utf-8")
        if target.path.is_dir():
            target.path.rename(replaced)
        draft.rename(target.path)
        return
    for file in target.files:
        written = draft.with_name(file.name)
        if written.exists():
            written.replace(file)
        else:
            file.unlink(missing_ok=True)


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _cannot_be_written(error: OSError, place: Path) -> DataError:
    return DataError(f"it cannot be written ({error.strerror or error})", place=place, next_step=_next_step(error))


def _next_step(error: OSError) -> str:
    return f"{'Free some space' if _is_full(error) else 'Choose another place'}; nothing was left behind"
