from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from facedistill.align.report import AlignReport, PhotoResult, read_rows, read_settings
from facedistill.errors import DataError

ROWS = (
    PhotoResult(
        "a/1.png",
        "a/1.jpg",
        "aligned",
        attempt="padded",
        score=0.98765,
        faces=2,
        box=(-1.5, 2.0, 30.25, 40.0),
        landmarks=tuple(float(value) for value in range(10)),
    ),
    PhotoResult("a/2.png", "a/2.jpg", "kept"),
    PhotoResult("b/ä, x\n.jpg", "", "no face", "the detector found no face"),
    PhotoResult("b/\udcff.jpg", "", "unreadable", "the image is truncated: its end is missing"),
)
SETTINGS = {"source": "/photos", "size": 112, "template": "arcface", "detector": {"name": "dots"}}


def test_summary() -> None:
    summary = AlignReport(ROWS, SETTINGS, seconds=2.0, leftovers=("old.jpg",)).to_dict()
    assert summary["photos"] == 4
    assert summary["crops"] == 2
    assert summary["statuses"] == {"aligned": 1, "kept": 1, "no_face": 1, "unreadable": 1, "name_taken": 0}
    assert summary["attempts"] == {"plain": 0, "padded": 1, "lenient": 0, "enlarged": 0}
    assert summary["photos_per_second"] == 1.5  # what was kept was no work
    assert summary["template_points"][0] == [38.2946, 51.6963]
    assert summary["template"] == "arcface"
    assert summary["leftovers"] == ["old.jpg"]
    assert [problem["status"] for problem in summary["problems"]] == ["no face", "unreadable"]
    assert json.loads(json.dumps(summary)) == summary


def test_table() -> None:
    columns, rows = AlignReport(ROWS, SETTINGS, seconds=2.0).table()
    assert columns == ("status", "photos", "%")
    assert rows == [
        ("aligned", "1", "25.00"),
        ("kept", "1", "25.00"),
        ("no face", "1", "25.00"),
        ("unreadable", "1", "25.00"),
    ]


def test_rows_come_back_from_the_file(tmp_path: Path) -> None:
    AlignReport(ROWS, SETTINGS, seconds=2.0).write(tmp_path)
    rows = read_rows(tmp_path)
    assert list(rows) == [row.photo for row in ROWS]
    assert rows["a/1.png"].box == ROWS[0].box
    assert rows["a/1.png"].landmarks == ROWS[0].landmarks
    assert rows["a/1.png"].score == pytest.approx(0.9877, abs=1e-9)
    assert [rows[row.photo] for row in ROWS[1:]] == list(ROWS[1:])


def test_columns_of_the_file(tmp_path: Path) -> None:
    AlignReport(ROWS[:1], SETTINGS, seconds=2.0).write(tmp_path)
    with (tmp_path / "align-report.csv").open(encoding="utf-8", newline="") as file:
        (cells,) = csv.DictReader(file)
    assert cells == {
        "photo": "a/1.png",
        "crop": "a/1.jpg",
        "status": "aligned",
        "reason": "",
        "attempt": "padded",
        "score": "0.9877",
        "faces": "2",
        "box_x1": "-1.50",
        "box_y1": "2.00",
        "box_x2": "30.25",
        "box_y2": "40.00",
        "left_eye_x": "0.00",
        "left_eye_y": "1.00",
        "right_eye_x": "2.00",
        "right_eye_y": "3.00",
        "nose_x": "4.00",
        "nose_y": "5.00",
        "left_mouth_x": "6.00",
        "left_mouth_y": "7.00",
        "right_mouth_x": "8.00",
        "right_mouth_y": "9.00",
    }


def test_no_earlier_run(tmp_path: Path) -> None:
    assert read_settings(tmp_path) is None
    assert read_rows(tmp_path) == {}


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_damaged_summary(tmp_path: Path, text: str) -> None:
    (tmp_path / "align-report.json").write_text(text)
    with pytest.raises(DataError, match=r"align-report\.json: the report of the earlier run is damaged"):
        read_settings(tmp_path)


@pytest.mark.parametrize("text", ["photo,crop\na,b\n", "photo,crop,status\na,b,aligned\n", "x\0y\n1\n"])
def test_damaged_rows_count_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "align-report.csv").write_text(text)
    assert read_rows(tmp_path) == {}
