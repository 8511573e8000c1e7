"""The report page: what it counts, what it shows, and that nothing in it can do harm."""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facedistill.align import page_sheet
from facedistill.align.page import write_page
from facedistill.align.page_faces import SHEET_LENGTH, Shortlist, gather_faces, gather_missed
from facedistill.align.page_histogram import Histogram
from facedistill.align.page_sheet import PHOTO_SIDE
from facedistill.align.table import FaceRow, MissedRow, MissedStatus, face_lines, missed_lines
from facedistill.data.images import decode_image, write_image
from facedistill.errors import DataError
from facedistill.page.html import plain

SUMMARY: dict[str, Any] = {
    "source": "people",
    "size": 112,
    "template": "arcface",
    "detector": {"name": "mtcnn", "min_face": None},
    "photos": 1240,
    "crops": 1200,
    "statuses": {"aligned": 1200, "no face": 31, "unreadable": 9},
    "attempts": {"plain": 1190, "padded": 10},
    "ignored": {".heic": 17, "": 2},
    "colour_of_the_sky": "blue",
}

Make = Callable[..., str]


def face(name: str, **figures: Any) -> FaceRow:
    row = FaceRow(name, name, 100, "plain", 1, 0.99, 80.0, 70.0, 5.0, (0.0,) * 4, (0.0,) * 10, (0.0,) * 6)
    return replace(row, **figures)


def missed(name: str, status: MissedStatus = "no face", reason: str = "none was found") -> MissedRow:
    return MissedRow(name, status, reason)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes tables and one image for each row, and gives the page."""

    def page(faces: list[FaceRow], gone: list[MissedRow], summary: dict[str, Any] | None = None) -> str:
        out, photos = tmp_path / "out", tmp_path / "photos"
        out.mkdir(exist_ok=True)
        (out / "landmarks.csv").write_bytes(face_lines(faces, header=True))
        (out / "missed.csv").write_bytes(missed_lines(gone, header=True))
        for index, row in enumerate(faces):
            write_image(out / row.crop, np.full((112, 112, 3), index % 256, np.uint8))
        for index, missing in enumerate(gone):
            write_image(photos / missing.photo, np.full((300, 400, 3), index % 256, np.uint8))
        write_page(out, photos, SUMMARY if summary is None else summary)
        return (out / "report.html").read_bytes().decode("utf-8")

    return page


class Reader(HTMLParser):
    """Collects what a browser would see: elements, and captions by contact sheet."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.sheets: dict[str, list[str]] = {}
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "wbr", "rect", "line"):
            self.open.append(tag)
        if tag == "bdi":
            self.sheets[self.headline].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.headline = data
            self.sheets[data] = []
        elif self.open and self.open[-1] == "bdi":
            self.sheets[self.headline][-1] += data


def test_the_counts_of_the_summary(make: Make) -> None:
    words = Reader(make([face("a.jpg")], [])).words
    assert words[words.index("1,240") + 1] == "photos"
    assert words[words.index("96.77 %") + 1] == "of the photos aligned"  # 1200 / 1240
    assert words[words.index("40") + 1] == "photos without a crop"
    at = words.index("no face")
    assert words[at : at + 3] == ["no face", "31", "2.50"]
    at = words.index("with a border around it")
    assert words[at + 1 : at + 3] == ["10", "0.83"]
    at = words.index(".heic")
    assert words[at : at + 3] == [".heic", "17", "89.47"]
    assert words[words.index("(no suffix)") + 1] == "2"
    assert words[words.index("detector") + 1] == "name: mtcnn, min_face: none"
    assert words[words.index("colour of the sky") + 1] == "blue"


def test_without_a_summary_the_tables_are_counted(make: Make) -> None:
    words = Reader(make([face("a.jpg"), face("b.jpg"), face("c.jpg")], [missed("d.jpg")], {})).words
    assert words[words.index("75.00 %") + 1] == "of the photos aligned"
    at = words.index("aligned")
    assert words[at : at + 6] == ["aligned", "3", "75.00", "no face", "1", "25.00"]


def test_each_sheet_shows_the_faces_it_is_named_after(make: Make) -> None:
    rows = [face(f"{index:02}.jpg") for index in range(60)]
    for index, row in enumerate(rows):
        high, low, middle = index / 100, 1 - index / 100, 0.5 + index / 1000
        rows[index] = replace(row, score=middle, size=100 + 50 * low, sharpness=40 + 30 * high, yaw=-high * 60)
    sheets = Reader(make(rows, [])).sheets
    names = [row.crop for row in rows]
    assert sheets["Best"] == names[:35:-1]
    assert sheets["Worst"] == names[:24]
    assert sheets["Smallest"] == names[:35:-1]
    assert sheets["Most turned"] == names[:35:-1]
    assert sheets["Least sharp"] == names[:24]
    assert "Missed" not in sheets


def test_captions_and_pictures(make: Make) -> None:
    page = make([face("ann/1.jpg", score=0.98765, size=63.4, yaw=-12.6, sharpness=71.2)], [])
    reader = Reader(page)
    assert reader.sheets["Best"] == ["ann/1.jpg"]
    at = reader.words.index("score 0.9877")
    assert reader.words[at + 1 : at + 3] == ["63 px · -13°", "sharpness 71"]
    pictures = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert len(pictures) == 5  # the one crop in every sheet
    encoded = base64.b64decode(str(pictures[0]).removeprefix("data:image/jpeg;base64,"))
    assert decode_image(encoded, place="picture").shape == (112, 112, 3)


def test_photos_are_shown_small_with_their_reason(make: Make) -> None:
    reader = Reader(make([], [missed("bob/7.png", "filtered", "the face is 9 pixels large")]))
    assert reader.sheets["Missed"] == ["bob/7.png"]
    assert "the face is 9 pixels large" in reader.words
    (picture,) = (attributes for tag, attributes in reader.tags if tag == "img")
    assert (picture["width"], picture["height"]) == (str(PHOTO_SIDE), str(PHOTO_SIDE * 3 // 4))


def test_the_number_of_pictures_is_bounded(make: Make) -> None:
    faces = [face(f"{index:03}.jpg") for index in range(100)]
    page = make(faces, [missed(f"{index:03}.png") for index in range(90)])
    assert page.count("<img ") == 6 * SHEET_LENGTH
    assert "and 66 more in missed.csv" in page
    assert len(page) < 2_000_000


def test_many_misses_of_one_kind_hide_no_other() -> None:
    rows = [missed(f"{index:03}.png", "unreadable") for index in range(200)]
    rows += [missed("x.png"), missed("b.png", "name taken"), missed("a.png", "name taken")]
    figures = gather_missed(reversed(rows))
    assert figures.statuses == {"unreadable": 200, "name taken": 2, "no face": 1}
    assert list(figures.statuses) == ["unreadable", "name taken", "no face"]
    assert [row.photo for row in figures.shown] == [*(f"{n:03}.png" for n in range(21)), "a.png", "b.png", "x.png"]


@pytest.mark.parametrize("status", ["unreadable", "outside link"])
def test_what_cannot_be_read_is_not_opened(make: Make, tmp_path: Path, status: MissedStatus) -> None:
    reader = Reader(make([], [missed("x.png", status, "why <b>so</b>")]))
    assert not any(tag in ("img", "b") for tag, _ in reader.tags)
    assert "no picture" in reader.words
    assert "why <b>so</b>" in reader.words


def test_missing_and_damaged_images_do_not_stop_it(make: Make, tmp_path: Path) -> None:
    faces, gone = [face("a.jpg"), face("b.jpg"), face("c.jpg")], [missed("d.png")]
    make(faces, gone)
    (tmp_path / "out" / "a.jpg").unlink()
    (tmp_path / "out" / "b.jpg").write_bytes(b"")
    (tmp_path / "photos" / "d.png").unlink()
    write_page(tmp_path / "out", tmp_path / "photos", SUMMARY)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count("<img ") == 5
    assert page.count("no picture") == 5 * 2 + 1
    assert Reader(page).sheets["Best"] == ["a.jpg", "b.jpg", "c.jpg"]


def test_huge_images_do_not_stop_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: Any, side: int) -> str:
        if side == 160:
            raise MemoryError
        return str(cv2.resize(image, (0, 0)))  # raises cv2.error

    monkeypatch.setattr(page_sheet, "thumbnail", fail)
    page = make([face("a.jpg")], [missed("d.png")])
    assert page.count("no picture") == 5 + 1


EVIL = "\"><script>alert('1')</script>&amp;.jpg"


def test_nothing_from_outside_becomes_markup(make: Make) -> None:
    summary = {
        **SUMMARY,
        "source": EVIL,
        EVIL: EVIL,
        "statuses": {EVIL: 1},
        "attempts": {EVIL: 1},
        "ignored": {EVIL: 1},
    }
    faces = [face("x.jpg", photo=EVIL, crop=EVIL.replace("/", "-"))]
    page = make(faces, [missed(EVIL.replace("/", "-"), "unreadable", EVIL)], summary)
    plain_page = make([face("x.jpg")], [missed("x.jpg", "unreadable")], {**SUMMARY, "a": 1, "statuses": {"b": 1}})
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags} == {tag for tag, _ in Reader(plain_page).tags}
    known = {name for _, attributes in Reader(plain_page).tags for name in attributes}
    assert {name for _, attributes in reader.tags for name in attributes} == known
    assert reader.sheets["Best"] == [EVIL.replace("/", "-")]
    assert "<script" not in page.lower()


def test_names_that_no_encoding_takes(make: Make) -> None:
    name = os.fsdecode(b"fa\xe7ade.jpg")
    page = make([], [missed("x.png", reason=name), missed("bell\x07\u202e.png")], {"source": name, name: {name: 1}})
    assert "fa\ufffdade.jpg" in page
    assert "bell\ufffd\u202e.png" in page
    assert page.count("\ufffd: 1") == 0
    assert "fa\ufffdade.jpg: 1" in page


def test_the_page_stands_alone(make: Make) -> None:
    page = make([face("a.jpg")], [missed("b.png")])
    assert "http" not in page
    assert "<script" not in page
    assert "@import" not in page
    assert not re.findall(r"url\(", page)
    assert all(
        str(attributes["src"]).startswith("data:") for tag, attributes in Reader(page).tags if "src" in attributes
    )
    assert not any(tag in ("link", "iframe", "object", "a") for tag, _ in Reader(page).tags)
    assert "prefers-color-scheme:dark" in page


def test_the_same_alignment_gives_the_same_bytes(make: Make, tmp_path: Path) -> None:
    faces = [face(f"{index:02}.jpg", score=0.5 + index % 3 / 10, yaw=index % 5) for index in range(70)]
    gone = [missed(f"{index:02}.png") for index in range(40)]
    first = make(faces, gone)
    assert make(faces, gone) == first
    (tmp_path / "out" / "landmarks.csv").write_bytes(face_lines(reversed(faces), header=True))
    (tmp_path / "out" / "missed.csv").write_bytes(missed_lines(reversed(gone), header=True))
    write_page(tmp_path / "out", tmp_path / "photos", SUMMARY)
    assert (tmp_path / "out" / "report.html").read_text("utf-8") == first
    assert str(tmp_path) not in first


def test_empty_tables(make: Make) -> None:
    reader = Reader(make([], [], {}))
    assert not any(tag in ("img", "svg") for tag, _ in reader.tags)
    assert reader.words[reader.words.index("crops") - 1] == "0"


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"landmarks\.csv"):
        write_page(tmp_path, tmp_path, {})


def test_yaw_that_is_unknown(make: Make) -> None:
    reader = Reader(make([face("a.jpg", yaw=math.nan), face("b.jpg", yaw=3.0)], []))
    assert reader.sheets["Most turned"] == ["b.jpg"]
    assert "80 px · yaw unknown" in reader.words
    assert "1 face, 1 without" in reader.words


def test_a_shortlist_is_the_head_of_a_sort() -> None:
    rng = np.random.default_rng(0)
    rows = [(int(figure), f"{index:03}") for index, figure in enumerate(rng.integers(0, 20, 300))]
    shortlist = Shortlist[tuple[int, str]]("", "", 24)
    for row in rng.permutation(np.array(rows, dtype=object)):
        shortlist.offer(tuple(row), *row)
    assert shortlist.rows == sorted(rows)[:24]


def test_gathering_keeps_no_rows() -> None:
    figures = gather_faces(face(f"{index}.jpg", size=50 + index % 100) for index in range(20_000))
    assert figures.crops == 20_000
    assert all(len(sheet.rows) == SHEET_LENGTH for sheet in figures.sheets)
    assert all(histogram.total == 20_000 for histogram in figures.histograms)
    assert all(len(histogram.cells) <= 100 for histogram in figures.histograms)


@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_bars_hold_every_value_once(scale: int) -> None:
    values = np.random.default_rng(0).normal(0, scale, 5000)
    histogram = Histogram("x", "x", 1)
    for value in values:
        histogram.add(float(value))
    bars = histogram.bars()
    assert not bars.is_open
    assert 4 <= len(bars.counts) <= 26
    assert bars.counts == np.histogram(values, bars.edges)[0].tolist()
    assert sum(bars.counts) == 5000


def test_the_highest_score_has_a_bar() -> None:
    histogram = Histogram("Score", "score", 0.001, top=1.0)
    for value in (0.29, 0.99, 0.9995, 1.0, 1.0):
        histogram.add(value)
    bars = histogram.bars()
    assert bars.edges[-1] == 1
    assert bars.counts[-1] == 4
    assert bars.edges[0] <= 0.29 < bars.edges[1]


def test_every_cell_begins_at_its_own_edge() -> None:
    histogram = Histogram("Score", "score", 0.001, top=1.0)
    for thousandth in range(1000):
        histogram.add(thousandth / 1000)  # 0.583 / 0.001 is below 583
    assert set(histogram.cells.values()) == {1}


def test_one_huge_face_does_not_flatten_the_others() -> None:
    histogram = Histogram("Size", "pixels", 1, gathers_tail=True)
    for index in range(1000):
        histogram.add(100 + index % 50)
    histogram.add(9000)
    bars = histogram.bars()
    assert bars.is_open
    assert bars.edges[-1] <= 160
    assert sum(bars.counts) == 1001
    assert bars.counts[-1] == 1
    drawn = histogram.svg()
    assert f"≥ {bars.edges[-2]:.0f}</text>" in drawn or "and more: 1 face" in drawn
    assert len(re.findall("<rect ", drawn)) == len(bars.counts)


def test_values_in_words() -> None:
    assert plain({"a": None, "b": [0.123456789, True], "c": {"d": 1}}) == "a: none, b: (0.123457, yes), c: (d: 1)"
    assert plain([[1.5, 2], []]) == "(1.5, 2), none"
    assert plain({}) == "none"
