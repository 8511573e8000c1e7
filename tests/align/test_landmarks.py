"""Landmarks from files of every form, and what is wrong with files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from facedistill.align.detectors import DETECTORS, FaceDetector, Faces, Photo
from facedistill.align.detectors.landmark_file import read_landmarks
from facedistill.align.detectors.landmarks import Landmarks
from facedistill.align.table import LANDMARK_COLUMNS, FaceRow, face_lines
from facedistill.errors import DataError, UsageError

POINTS = np.array([(30, 40), (70, 41), (50, 60), (35, 80), (66, 81.5)])
HEADER = ",".join(("photo", *LANDMARK_COLUMNS))
TEN = ",".join(f"{value:g}" for value in POINTS.ravel())


def find(file: Path, *names: str) -> list[Faces]:
    detector = Landmarks(file=file)
    return detector.detect([Photo(name, np.zeros((2, 3, 3), np.uint8)) for name in names])


def write(tmp_path: Path, text: str, name: str = "l.csv") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path / name


def test_the_table_of_an_alignment(tmp_path: Path) -> None:
    """Two faces of one photo, the better one first; numbers as the table rounds them."""
    rows = [
        FaceRow("a/1, é\u2028.jpg", f"a/1_{index}.png", 9, "plain", 2, score, 50.0, 1.0, 0.0, box,
                tuple(POINTS.ravel() + index), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        for index, (score, box) in enumerate([(0.7, (1.5, 2.0, 30.0, 41.25)), (0.9, (5.0, 6.0, 70.0, 80.0))])
    ]  # fmt: skip
    (tmp_path / "landmarks.csv").write_bytes(face_lines(rows, header=True))
    faces, none = find(tmp_path / "landmarks.csv", "a/1, é\u2028.jpg", "a/2.jpg")
    np.testing.assert_allclose(faces.scores, [0.9, 0.7])
    np.testing.assert_allclose(faces.boxes, [(5, 6, 70, 80), (1.5, 2, 30, 41.25)])
    np.testing.assert_allclose(faces.landmarks, [POINTS + 1, POINTS])
    assert faces.boxes.dtype == faces.scores.dtype == faces.landmarks.dtype == np.float32
    assert len(none) == 0
    assert none.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\nb/x.jpg,{TEN}\n",
        f"\ufeff{HEADER}\r\n./b/x.jpg,{TEN}\r\n\r\n",
        f"score,{HEADER},note\n,b\\x.jpg,{TEN},\"two\nlines\"\n",
        f"b/x.jpg,{TEN}\n",
        f"b/x.jpg {TEN.replace(',', ' ')}\n",
        f"1\nlefteye_x a b c d e f g h i\nb/x.jpg  {TEN.replace(',', '  ')} \n",
        f"2\nb/x.jpg\t{TEN.replace(',', chr(9))}\nc.jpg\t{TEN.replace(',', chr(9))}\n",
        json.dumps({"b/x.jpg": POINTS.tolist()}),
        json.dumps({"b/x.jpg": [POINTS.tolist()], "none.jpg": []}),
    ],
)  # fmt: skip
def test_every_form(tmp_path: Path, text: str) -> None:
    (faces,) = find(write(tmp_path, text), "b/x.jpg")
    np.testing.assert_allclose(faces.landmarks, [POINTS])
    np.testing.assert_array_equal(faces.scores, [1])
    # 2.4 longer sides of 41.5 around the middle of 30..70 and 40..81.5.
    np.testing.assert_allclose(faces.boxes, [(50 - 49.8, 60.75 - 49.8, 50 + 49.8, 60.75 + 49.8)], atol=1e-4)


def test_a_list_with_blanks_in_a_name(tmp_path: Path) -> None:
    (faces,) = find(write(tmp_path, f"my photo 1.jpg {TEN.replace(',', ' ')}\n"), "my photo 1.jpg")
    np.testing.assert_allclose(faces.landmarks, [POINTS])


def test_several_faces_in_json(tmp_path: Path) -> None:
    (faces,) = find(write(tmp_path, json.dumps({"x": [POINTS.tolist(), (POINTS * 2).tolist()]})), "x")
    np.testing.assert_allclose(faces.landmarks, [POINTS, POINTS * 2])


def test_five_faces_in_json(tmp_path: Path) -> None:
    """As many faces as a face has points."""
    (faces,) = find(write(tmp_path, json.dumps({"x": [POINTS.tolist()] * 5})), "x")
    assert len(faces) == 5


@pytest.mark.filterwarnings("error")
def test_points_that_are_not_finite_stay_and_have_a_box_of_no_size(tmp_path: Path) -> None:
    text = f"{HEADER}\nx,nan,{TEN.split(',', 1)[1]}\nx,{TEN}\ny,inf,{TEN.split(',', 1)[1]}\n"
    nan, inf = find(write(tmp_path, text), "x", "y")
    assert np.isnan(nan.landmarks[0, 0, 0])
    assert np.isinf(inf.landmarks[0, 0, 0])
    np.testing.assert_array_equal(nan.boxes[0], [0, 0, 0, 0])
    np.testing.assert_array_equal(inf.boxes[0], [0, 0, 0, 0])
    np.testing.assert_allclose(nan.landmarks[1], POINTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER.replace('nose_x', 'nose')}\nx,{TEN}\n", "the table lacks the column nose_x"),
        (f"{HEADER},box_x1\nx,{TEN},3\n", "the table lacks the column box_y1"),
        (f"{HEADER}\nx,{TEN}\ny,{TEN[:-5]}\n", r"line 3: the line has 10 columns, the header 11"),
        (f"{HEADER}\n\nx,{TEN.replace('30', 'left')}\n", r"line 3: 'left' is not a number"),
        (f"{HEADER}\nx,{TEN.replace('30', '')}\n", r"line 2: '' is not a number"),
        (f"{HEADER}\nx,{TEN}\n{'y' * 140_000},{TEN}\n", r"line 3: the line is no CSV \(field larger than"),
        (f"x,{TEN}\n{'y' * 140_000},{TEN}\n", r"line 2: the line is no CSV \(field larger than"),
        (f"x,{TEN}\na\rb,{TEN}\n", r"line 2: the line is no CSV \(new-line character"),
        (f"{HEADER.replace('photo', 'file')}\nx,{TEN}\n", "line 1: the file is neither a table with the column photo"),
        (f"x,{TEN}\ny,{TEN},7\n", "line 2: a photo has 10 numbers, here are 11"),
        (f"x {TEN.replace(',', ' ')}\ny 1 2 3\n", "line 2: a photo has 10 numbers, here are 3"),
        (f"x,{TEN}\ny,{TEN.replace('30', '3o')}\n", "line 2: '3o' is not a number"),
        ("", "the file names no photo"),
        (HEADER + "\n", "the file names no photo"),
        (HEADER.replace(",", "\t") + "\n", "line 1: the file is neither.* Separate the columns by commas, in UTF-8"),
        (HEADER.replace(",", ";") + "\n", "line 1: the file is neither.* Separate the columns by commas, in UTF-8"),
        (f"x;{TEN.replace('81.5', '81,5')}\n".replace(",", ";"), "line 1: .* Separate the columns by commas, in UTF-8"),
        ("{", "the file is no JSON"),
        ('{"x": ' + "[" * 100_000, r"the file is no JSON that can be read \(maximum recursion"),
        (f'{{"x": [[{"1" * 400}, 2], [3, 4], [5, 6], [7, 8], [9, 1]]}}', r"photo x: the number 1+\.+1+ is too large"),
        ('{"x": [[1, 2], [3, 4], [5, 6], [7, 8], [[[[[[[[9]]]]]]]]]}', "photo x: a point is .x, y., this one is"),
        ("[]", "the JSON is no object of photos"),
        ("{}", "the file names no photo"),
        ('{"x": 3}', "photo x: a photo has a list of five points, or of faces"),
        ('{"x": [[1, 2], [3, 4]]}', "photo x: a face has five points .x, y., here are 2"),
        ('{"x": [[1, 2], [3, 4], [5, 6], [7, 8], [9]]}', r"photo x: a point is .x, y., this one is \[9\]"),
        ('{"x": [[1, 2], [3, 4], [5, 6], [7, 8], [9, null]]}', "photo x: None is not a number"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"l\.csv.*{message}"):
        Landmarks(file=write(tmp_path, text))


@pytest.mark.parametrize("text", [f"{HEADER}\nx,{TEN}\n", f"x,{TEN}\n", json.dumps({"x": POINTS.tolist()})])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "l.csv").write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=r"the file is UTF-16, or no text\. Separate the columns by commas, in UTF-8"):
        Landmarks(file=tmp_path / "l.csv")


def test_names_with_backslashes_and_carriage_returns(tmp_path: Path) -> None:
    """As it stands a name goes before what it means with slashes."""
    names = ["a\\b.jpg", "a/b.jpg", ".\\c\\d.jpg", '"e\rf.jpg"']
    text = HEADER + "".join(f"\n{name}{f',{index}' * 10}" for index, name in enumerate(names))
    found = find(write(tmp_path, text), "a\\b.jpg", "a/b.jpg", "c/d.jpg", "e\rf.jpg", "e\nf.jpg")
    assert [faces.landmarks[:, 0, 0].tolist() for faces in found] == [[0], [1], [2], [3], []]


def test_lines_that_end_in_a_carriage_return_alone(tmp_path: Path) -> None:
    for text in (f"x {TEN}\ry {TEN}\r".replace(",", " "), f"{HEADER}\rx,{TEN}\ry,{TEN}\r"):
        assert [len(faces) for faces in find(write(tmp_path, text), "x", "y")] == [1, 1]


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(this is a folder, not a file\)"):
        Landmarks(file=tmp_path)
    with pytest.raises(DataError, match=r"/dev/null: .* \(this is a device or a pipe, not a file\)"):
        Landmarks(file=Path("/dev/null"))


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"needs a file of landmarks\. Give a CSV or JSON file with --detector-file"):
        Landmarks()
    with pytest.raises(DataError, match=r"none\.csv: the landmarks cannot be read \(No such file"):
        Landmarks(file=tmp_path / "none.csv")
    with pytest.raises(UsageError, match="does not run on cuda"):
        Landmarks(file=tmp_path / "none.csv", device="cuda")
    with pytest.raises(UsageError, match=r"the device is 'gpu'\. Use auto, cpu or cuda"):
        Landmarks(file=tmp_path / "none.csv", device="gpu")


def test_the_registry_and_the_settings(tmp_path: Path) -> None:
    file = write(tmp_path, f"x,{TEN}\n")
    detector = DETECTORS["landmarks"](file=file)
    assert isinstance(detector, FaceDetector)
    assert not detector.looks_again
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert detector.settings == {"name": "landmarks", "file_sha256": digest}
    assert read_landmarks(file).photos == ["x"]
