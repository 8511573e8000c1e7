from __future__ import annotations

import json
from pathlib import Path

from facedistill.align.report import AlignReport

REPORT = AlignReport(
    settings={"source": "/photos", "size": 112, "template": "arcface", "detector": {"name": "dots"}},
    counts={
        "photos no face": 2,
        "photos aligned": 5,
        "photos filtered": 1,
        "attempt plain": 4,
        "attempt padded": 1,
        "crops": 7,
        "faces refused": 3,
    },
    ignored={".txt": 2},
    strangers=1,
    seconds=2.0,
    worked=3,
    added=1,
)


def test_summary() -> None:
    summary = REPORT.summary()
    assert summary["photos"] == 8
    assert summary["crops"] == 7
    assert list(summary["statuses"].items()) == [("aligned", 5), ("no face", 2), ("filtered", 1)]
    assert summary["attempts"] == {"plain": 4, "padded": 1, "lenient": 0, "enlarged": 0}
    assert (summary["faces_refused"], summary["faces_not_chosen"]) == (3, 0)
    assert summary["template_points"][0] == [38.2946, 51.6963]
    assert summary["ignored"] == {".txt": 2}
    assert json.loads(json.dumps(summary)) == summary


def test_how_the_run_went_is_no_part_of_the_summary() -> None:
    """Which is the same however many runs it took."""
    result = REPORT.to_dict()
    assert (result["seconds"], result["photos_per_second"], result["added"]) == (2.0, 1.5, 1)
    assert {name: value for name, value in result.items() if name in REPORT.summary()} == REPORT.summary()
    assert "seconds" not in REPORT.summary()


def test_table_and_file(tmp_path: Path) -> None:
    columns, rows = REPORT.table()
    assert columns == ("status", "photos", "%")
    assert rows == [("aligned", "5", "62.50"), ("no face", "2", "25.00"), ("filtered", "1", "12.50")]
    assert REPORT.missed == 3
    REPORT.write(tmp_path)
    assert json.loads((tmp_path / "align-report.json").read_text()) == REPORT.summary()
