"""An alignment to look at: one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facedistill.align.journal import PAGE_NAME
from facedistill.align.page_faces import FaceFigures, MissedFigures, gather_faces, gather_missed
from facedistill.align.page_histogram import Histogram
from facedistill.align.page_sheet import crop_sheet, missed_sheet
from facedistill.align.table import read_faces, read_missed
from facedistill.files import write_atomically
from facedistill.page.html import counted, counts_table, pairs_table, percent, plain, text, tile
from facedistill.page.style import STYLE

_TITLE = "Face alignment"
# Settings that come first, in this order and in words; others follow under their own names.
_SETTINGS = {
    "source": "photos",
    "detector": "detector",
    "face": "face taken",
    "limits": "limits",
    "size": "side of the crops in pixels",
    "template": "template",
    "format": "format",
    "quality": "quality",
}
_ATTEMPTS = {
    "plain": "photo as it is",
    "padded": "with a border around it",
    "lenient": "the same, lenient detector",
    "enlarged": "the same, enlarged",
}
_SHOWN_ELSEWHERE = ("photos", "crops", "statuses", "attempts", "ignored", "template_points")


def write_page(out: Path, photos: Path, summary: dict[str, Any]) -> None:
    """Write `out/report.html`: counts, histograms, and contact sheets of crops and of photos that gave none.

    The page depends on its arguments and the files named in the two tables alone, so the same alignment gives the same
    bytes. The tables are read once each, with memory that does not grow with their rows.

    Args:
        out: a finished alignment, with `landmarks.csv`, `missed.csv` and the crops.
        photos: the folder of photos; only small pictures of missed photos are taken from it.
        summary: settings and counts as in `align-report.json`; whatever it lacks is left out, or counted in the tables.

    Raises:
        DataError: a table is missing or damaged.
        OSError: the page cannot be written.
    """
    faces = gather_faces(read_faces(out))
    missed = gather_missed(read_missed(out))
    body = "".join(
        [
            f"<header><h1>{_TITLE}</h1>{_tiles(faces, missed, summary)}</header>",
            _counts(faces, missed, summary),
            _histograms(faces),
            *(crop_sheet(sheet, out) for sheet in faces.sheets),
            missed_sheet(missed, photos),
            _settings(summary),
        ]
    )
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{_TITLE}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
    write_atomically(out / PAGE_NAME, page.encode())


def _statuses(faces: FaceFigures, missed: MissedFigures, summary: dict[str, Any]) -> dict[str, int]:
    statuses = summary.get("statuses")
    return statuses if statuses is not None else {"aligned": faces.crops, **missed.statuses}


def _tiles(faces: FaceFigures, missed: MissedFigures, summary: dict[str, Any]) -> str:
    statuses = _statuses(faces, missed, summary)
    photos = summary.get("photos", sum(statuses.values()))
    aligned = statuses.get("aligned", 0)
    tiles = [
        tile(f"{photos:,}", "photo" if photos == 1 else "photos"),
        tile(f"{faces.crops:,}", "crop" if faces.crops == 1 else "crops"),
        tile(f"{percent(aligned, photos)} %", "of the photos aligned"),
        tile(f"{photos - aligned:,}", "photo without a crop" if photos - aligned == 1 else "photos without a crop"),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _counts(faces: FaceFigures, missed: MissedFigures, summary: dict[str, Any]) -> str:
    statuses = _statuses(faces, missed, summary)
    tables = [counts_table("what became of the photos", statuses, sum(statuses.values()))]
    attempts: dict[str, int] = summary.get("attempts") or {}
    if attempts:
        named = {_ATTEMPTS.get(name, name): count for name, count in attempts.items()}
        tables.append(counts_table("where the face was found", named, sum(attempts.values())))
    ignored: dict[str, int] = summary.get("ignored") or {}
    if ignored:
        in_order = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
        named = {suffix or "(no suffix)": count for suffix, count in in_order}
        tables.append(counts_table("files that are no photos", named, sum(ignored.values())))
    return f'<h2>Counts</h2><div class="columns">{"".join(f"<div>{table}</div>" for table in tables)}</div>'


def _histograms(faces: FaceFigures) -> str:
    if not faces.crops:
        return ""
    return f'<h2>Figures of the faces</h2><div class="charts">{"".join(map(_histogram, faces.histograms))}</div>'


def _histogram(histogram: Histogram) -> str:
    without = f", {histogram.without:,} without" if histogram.without else ""
    note = counted(histogram.total, "face") + without
    drawing = histogram.svg() if histogram.total else ""
    return f'<div class="chart"><h3>{text(histogram.name)} <small>{note}</small></h3>{drawing}</div>'


def _settings(summary: dict[str, Any]) -> str:
    known = [(label, summary[key]) for key, label in _SETTINGS.items() if key in summary]
    others = [(key, value) for key, value in summary.items() if key not in (*_SETTINGS, *_SHOWN_ELSEWHERE)]
    points = [("points of the template", plain(value)) for key, value in summary.items() if key == "template_points"]
    rows = [*known, *((key.replace("_", " "), value) for key, value in others), *points]
    return f"<h2>Settings</h2>{pairs_table(rows)}" if rows else ""
