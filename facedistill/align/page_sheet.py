"""Contact sheets of the report page: small pictures, kept in the page itself, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from facedistill.align.page_faces import MissedFigures, Shortlist
from facedistill.align.table import MISSED_NAME, FaceRow, MissedRow
from facedistill.data.images import read_image
from facedistill.errors import DataError
from facedistill.page.html import counted, text
from facedistill.page.thumbnail import thumbnail

CROP_SIDE = 112
PHOTO_SIDE = 160
"""Longer side in pixels of the pictures of crops and of photos; none is enlarged."""

# These have no picture: reading fails, or leads out of the folder of photos.
_NOT_READ = ("unreadable", "outside link")


def crop_sheet(sheet: Shortlist[FaceRow], out: Path) -> str:
    """The crops of a list, which lie in `out`; one that is no longer there gets an empty frame."""
    figures = [_figure(_picture(out / row.crop, CROP_SIDE), row.crop, _facts(row)) for row in sheet.rows]
    return _section(sheet.name, sheet.hint, figures)


def missed_sheet(missed: MissedFigures, photos: Path) -> str:
    """Photos that gave no crop, as far as they can be read, with the reason."""
    figures = [_figure(_missed_picture(row, photos), row.photo, [row.status, row.reason]) for row in missed.shown]
    left = missed.rows - len(missed.shown)
    more = f'<p class="more">and {left:,} more in {MISSED_NAME}</p>' if left else ""
    return _section("Missed", "Photos and faces that gave no crop, and why.", figures, large=True) + more


def _picture(path: Path, side: int) -> str | None:
    try:
        return thumbnail(read_image(path), side)
    except (DataError, MemoryError, cv2.error):  # the latter two for a huge photo
        return None


def _missed_picture(row: MissedRow, photos: Path) -> str | None:
    return None if row.status in _NOT_READ else _picture(photos / row.photo, PHOTO_SIDE)


def _facts(row: FaceRow) -> list[str]:
    turned = f"{round(row.yaw):+d}°" if row.yaw == row.yaw else "yaw unknown"
    return [f"score {row.score:.4f}", f"{row.size:.0f} px · {turned}", f"sharpness {row.sharpness:.0f}"]


def _figure(picture: str | None, name: str, lines: Sequence[str]) -> str:
    shown = text(name)
    facts = "".join(f"<span>{text(line)}</span>" for line in lines)
    frame = picture or '<span class="blank">no picture</span>'
    return (
        f'<figure title="{shown}"><div class="frame">{frame}</div>'
        f'<figcaption><bdi class="name">{shown.replace("/", "/<wbr>")}</bdi>{facts}</figcaption></figure>'
    )


def _section(name: str, hint: str, figures: list[str], *, large: bool = False) -> str:
    if not figures:
        return ""
    kind = "sheet large" if large else "sheet"
    head = f"<h2>{text(name)}</h2><p>{text(hint)} {counted(len(figures), 'picture')}.</p>"
    return f'{head}<div class="{kind}">{"".join(figures)}</div>'
