"""The corrupt images that are met on the way: counted, listed, and a reason to stop if there are many."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from threading import Lock

from facedistill.errors import DataError
from facedistill.files import write_atomically
from facedistill.shown_name import shown_name


class CorruptImages:
    """Keeps a list of kind, name and reason of each image, as `--exclude` takes it.

    Args:
        total: how many images there are.
        share: how many of them may be corrupt, 0 to 1; of any share above 0, one at least.
        path: the list to write, None for none; nothing is written where no image is corrupt.
    """

    def __init__(self, total: int, share: float, path: Path | None = None) -> None:
        self._total = total
        self._share = share
        self._path = path
        self._causes: dict[str, str] = {}
        self._lock = Lock()  # images are decoded in threads

    def __len__(self) -> int:
        return len(self._causes)

    def take_over(self) -> None:
        """Go on with the list that an interrupted run has left, if it has."""
        if self._path is not None and self._path.is_file():
            with self._path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
                self._causes |= {row[1]: row[2] for row in list(csv.reader(stream))[1:] if len(row) == 3}

    def add(self, found: dict[str, str]) -> None:
        """Take in key -> cause of corrupt images.

        Raises:
            DataError: they are more than the allowed share.
        """
        with self._lock:
            if found.keys() <= self._causes.keys():
                return
            self._causes |= found
            self._write()
        allowed = math.ceil(self._share * self._total)
        if len(self._causes) > allowed:
            key, cause = next(iter(self._causes.items()))
            many = "1 image is" if len(self._causes) == 1 else f"{len(self._causes)} images are"
            raise DataError(
                f"{many} corrupt, and --max-corrupt {self._share:g} allows {allowed} of {self._total}; "
                f"the first is '{shown_name(key)}': {cause}",
                place=self._path,
                next_step="Repair them, leave them out with --exclude, or allow more",
            )

    def _write(self) -> None:
        if self._path is None:
            return
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(("kind", "name", "reason"))
        writer.writerows(("image", key, cause) for key, cause in sorted(self._causes.items()))
        write_atomically(self._path, table.getvalue().encode("utf-8", "surrogateescape"))

    def summary(self, fate: str) -> str | None:
        """One line about them and their fate, such as "left out"; None where there are none."""
        if not self._causes:
            return None
        names = ", ".join(shown_name(key) for key in sorted(self._causes)[:3])
        many = "1 corrupt image was" if len(self) == 1 else f"{len(self)} corrupt images were"
        listed = "" if self._path is None else f"; see {self._path}"
        return f"{many} {fate}: {names}{', ...' if len(self) > 3 else ''}{listed}"
