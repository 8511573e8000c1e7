"""What became of every photo of an alignment: one row a photo (CSV) and a summary (JSON)."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from facedistill.align.find import ATTEMPTS, MainFace
from facedistill.align.template import LANDMARK_NAMES, template
from facedistill.errors import DataError
from facedistill.files import write_atomically

CSV_NAME = "align-report.csv"
JSON_NAME = "align-report.json"

Status = Literal["aligned", "kept", "no face", "unreadable", "name taken"]
"""aligned: a crop was written; kept: it was there already (resumed); name taken: another photo has that crop's name."""

_BOX_COLUMNS = ("box_x1", "box_y1", "box_x2", "box_y2")
_LANDMARK_COLUMNS = tuple(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")
_COLUMNS = (
    "photo",
    "crop",
    "status",
    "reason",
    "attempt",
    "score",
    "faces",
    *_BOX_COLUMNS,
    *_LANDMARK_COLUMNS,
)


@dataclass(frozen=True)
class PhotoResult:
    """What became of one photo.

    Attributes:
        photo, crop: paths relative to the two folders, with forward slashes; crop is empty where there is none.
        status: see `Status`.
        reason: why there is no crop, or empty.
        attempt: which of `find.ATTEMPTS` found the face, or empty.
        score: the detector's confidence, 0 to 1; None without a face, as are the box and the landmarks.
        faces: how many faces were found.
        box: x1, y1, x2, y2 in pixels of the photo.
        landmarks: x and y of the five landmarks in pixels of the photo, in the template's order.
    """

    photo: str
    crop: str
    status: Status
    reason: str = ""
    attempt: str = ""
    score: float | None = None
    faces: int = 0
    box: tuple[float, ...] | None = None
    landmarks: tuple[float, ...] | None = None

    @classmethod
    def of_face(cls, photo: str, crop: str, face: MainFace) -> PhotoResult:
        """The row of an aligned photo."""
        return cls(
            photo,
            crop,
            "aligned",
            attempt=face.attempt,
            score=face.score,
            faces=face.faces,
            box=tuple(float(value) for value in face.box),
            landmarks=tuple(float(value) for value in face.landmarks.reshape(-1)),
        )


@dataclass(frozen=True)
class AlignReport:
    """The result of `align_folder`.

    Attributes:
        rows: one for each photo, in the order of their paths.
        settings: what the crops are: size, format, detector, template.
        seconds: wall time.
        finished: False where the run was interrupted.
        leftovers: images in the output folder that belong to no photo of this run.
    """

    rows: tuple[PhotoResult, ...]
    settings: dict[str, Any]
    seconds: float
    finished: bool = True
    leftovers: tuple[str, ...] = field(default=())

    def count(self, status: Status) -> int:
        """How many photos have this status."""
        return sum(row.status == status for row in self.rows)

    @property
    def crops(self) -> int:
        """How many photos have a crop now."""
        return self.count("aligned") + self.count("kept")

    @property
    def problems(self) -> list[PhotoResult]:
        """The photos without a crop."""
        return [row for row in self.rows if row.status not in ("aligned", "kept")]

    def to_dict(self) -> dict[str, Any]:
        """The summary, JSON-ready; the CSV has the single photos."""
        attempts = Counter(row.attempt for row in self.rows if row.attempt)
        worked = len(self.rows) - self.count("kept")
        return {
            **self.settings,
            "template_points": template(self.settings["size"]).round(4).tolist(),
            "finished": self.finished,
            "photos": len(self.rows),
            "crops": self.crops,
            "statuses": {status.replace(" ", "_"): self.count(status) for status in get_args(Status)},
            "attempts": {attempt: attempts[attempt] for attempt in ATTEMPTS},
            "seconds": round(self.seconds, 2),
            "photos_per_second": round(worked / self.seconds, 2) if self.seconds > 0 else None,
            "problems": [{"photo": row.photo, "status": row.status, "reason": row.reason} for row in self.problems],
            "leftovers": list(self.leftovers),
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Column names and rows for printing: photos by what became of them."""
        total = max(len(self.rows), 1)
        counts = Counter[str](row.status for row in self.rows)
        names: list[str] = [status for status in get_args(Status) if counts[status]]
        return ("status", "photos", "%"), [
            (name, str(counts[name]), f"{100 * counts[name] / total:.2f}") for name in names
        ]

    def write(self, out: Path) -> None:
        """Write both files into `out`, each whole or not at all."""
        rows = [_to_cells(row) for row in self.rows]
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(_COLUMNS)
        writer.writerows(rows)
        # File names that are no valid UTF-8 come back out of the report as they went in.
        write_atomically(out / CSV_NAME, table.getvalue().encode(errors="surrogateescape"))
        write_atomically(out / JSON_NAME, (json.dumps(self.to_dict(), indent=2) + "\n").encode())


def read_settings(out: Path) -> dict[str, Any] | None:
    """The summary of an earlier run in `out`, or None where there is none; DataError where it cannot be read."""
    path = out / JSON_NAME
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError("the report of the earlier run is damaged", place=path) from error
    if not isinstance(values, dict):
        raise DataError("the report of the earlier run is damaged", place=path)
    return values


def read_rows(out: Path) -> dict[str, PhotoResult]:
    """The rows of an earlier run by photo; empty where it wrote none or they cannot be read."""
    path = out / CSV_NAME
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        try:
            rows = [_from_cells(cells) for cells in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError, csv.Error):
            return {}  # only the details of crops that are kept are lost
    return {row.photo: row for row in rows}


def _to_cells(row: PhotoResult) -> list[str | int]:
    def numbers(values: tuple[float, ...] | None, count: int) -> list[str]:
        return [""] * count if values is None else [f"{value:.2f}" for value in values]

    score = "" if row.score is None else f"{row.score:.4f}"
    return [
        row.photo,
        row.crop,
        row.status,
        row.reason,
        row.attempt,
        score,
        row.faces,
        *numbers(row.box, len(_BOX_COLUMNS)),
        *numbers(row.landmarks, len(_LANDMARK_COLUMNS)),
    ]


def _from_cells(cells: dict[str, str]) -> PhotoResult:
    def numbers(columns: tuple[str, ...]) -> tuple[float, ...] | None:
        return tuple(float(cells[column]) for column in columns) if cells[columns[0]] else None

    if cells["status"] not in get_args(Status):
        raise ValueError(cells["status"])
    return PhotoResult(
        cells["photo"],
        cells["crop"],
        cast(Status, cells["status"]),
        cells["reason"],
        cells["attempt"],
        float(cells["score"]) if cells["score"] else None,
        int(cells["faces"]),
        numbers(_BOX_COLUMNS),
        numbers(_LANDMARK_COLUMNS),
    )
