from __future__ import annotations

from pathlib import Path

import pytest

from facedistill.align.table import FaceRow, MissedRow, face_lines, missed_lines, read_faces, read_missed
from facedistill.errors import DataError

FACES = (
    FaceRow(
        "a/1.png", "a/1.jpg", 5022, "padded", 2, 0.98765, 110.284, 75.1, -4.906,
        (-1.5, 2.0, 30.25, 40.0), tuple(float(value) for value in range(10)), (0.5, -0.25, 3, 0.25, 0.5, 1 / 3),
    ),
    FaceRow(
        "b/ä, x\n.jpg", 'b/"\udcff.jpg', 1, "plain", 1, 1.0, 9, 0, float("inf"), (0.0,) * 4, (0.0,) * 10, (0.0,) * 6
    ),
)  # fmt: skip
MISSED = (
    MissedRow("b/ä, x\n.jpg", "no face", "the detector found no face"),
    MissedRow("b/\udcff.jpg", "unreadable", "the image is truncated: its end is missing"),
)


def test_columns_by_hand() -> None:
    header, line = face_lines(FACES[:1], header=True).decode().splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True)) == {
        "photo": "a/1.png", "crop": "a/1.jpg", "bytes": "5022", "attempt": "padded", "faces": "2", "score": "0.9877",
        "size": "110.28", "sharpness": "75.10", "yaw": "-4.91",
        "box_x1": "-1.50", "box_y1": "2.00", "box_x2": "30.25", "box_y2": "40.00",
        "left_eye_x": "0.00", "left_eye_y": "1.00", "right_eye_x": "2.00", "right_eye_y": "3.00",
        "nose_x": "4.00", "nose_y": "5.00", "left_mouth_x": "6.00", "left_mouth_y": "7.00",
        "right_mouth_x": "8.00", "right_mouth_y": "9.00",
        "m11": "0.5", "m12": "-0.25", "m13": "3", "m21": "0.25", "m22": "0.5", "m23": "0.333333333",
    }  # fmt: skip
    assert missed_lines(MISSED[:1], header=True).decode() == (
        'photo,status,reason\r\n"b/ä, x\n.jpg",no face,the detector found no face\r\n'
    )


def test_rows_come_back(tmp_path: Path) -> None:
    (tmp_path / "landmarks.csv").write_bytes(face_lines(FACES[:1], header=True) + face_lines(FACES[1:]))
    (tmp_path / "missed.csv").write_bytes(missed_lines((), header=True) + missed_lines(MISSED))
    first, second = read_faces(tmp_path)
    assert (first.score, first.size, first.yaw) == (0.9877, 110.28, -4.91)
    assert (first.box, first.landmarks) == (FACES[0].box, FACES[0].landmarks)
    assert first.matrix == pytest.approx(FACES[0].matrix, abs=1e-9)
    assert second == FACES[1]
    assert tuple(read_missed(tmp_path)) == MISSED


GOOD = face_lines(FACES[:1], header=True)
DAMAGES = {
    "cannot be read": None,
    "lacks the column photo": b"x,y\n1,2\n",
    "lacks the column m23": GOOD.replace(b",m23", b""),
    "line 2: the table's line is cut short": GOOD[:-30],
    "line 2: could not convert string to float: 'x'": GOOD.replace(b"0.9877", b"x"),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged(tmp_path: Path, message: str) -> None:
    content = DAMAGES[message]
    if content is not None:
        (tmp_path / "landmarks.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_faces(tmp_path))


def test_an_unknown_status(tmp_path: Path) -> None:
    (tmp_path / "missed.csv").write_bytes(b"photo,status,reason\na,lost,x\n")
    with pytest.raises(DataError, match=r"missed\.csv, line 2: no status 'lost'"):
        list(read_missed(tmp_path))
