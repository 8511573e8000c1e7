from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from facedistill.data.synthetic import SyntheticFaces, write_photos

from .conftest import Call


def test_a_good_folder(call: Call, faces: Path, tmp_path: Path) -> None:
    outcome = call("inspect", faces, "--sample", 0, "--strict", "--json", tmp_path / "r.json")
    assert outcome.status == 0, outcome.err
    assert "6 to 6, median 6" in outcome.out
    assert "Nothing to warn about." in outcome.out
    result = json.loads((tmp_path / "r.json").read_text())
    assert (result["images"], result["warnings"], result["alignment"]) == (48, [], None)


def test_warnings_are_notes_and_strict_fails(call: Call, faces: Path, tmp_path: Path) -> None:
    crops = Path(shutil.copytree(faces, tmp_path / "crops"))
    shutil.copy(crops / "person_000000" / "0000.png", crops / "person_000001" / "stolen.png")
    outcome = call("inspect", crops, "--sample", 0, "--quiet", "--workers", 2)
    assert (outcome.status, outcome.out) == (0, "")
    assert "1 picture is filed under more than one identity" in outcome.err
    outcome = call("inspect", crops, "--sample", 0, "--strict", "--json", tmp_path / "r.json")
    assert outcome.status == 1
    assert "person_000001/stolen.png" in outcome.out
    assert "1 warning, and --strict accepts none" in outcome.err
    assert json.loads((tmp_path / "r.json").read_text())["duplicates"][0]["identities"] == 2


def test_photos_are_told_from_crops(call: Call, tmp_path: Path) -> None:
    write_photos(SyntheticFaces(5, 2, difficulty=0.3), tmp_path / "photos")
    outcome = call("inspect", tmp_path / "photos")
    assert outcome.status == 0, outcome.err
    assert "not aligned" in outcome.out
    assert "looks like unaligned photos" in outcome.err
    assert "run facedistill align first" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere"], 2, "nowhere: there is no such folder"),
        (["file.txt"], 1, "file.txt: this is a file, not a folder of face crops"),
        (["empty"], 1, "empty: the folder holds no images"),
        (["empty", "--detector", "mtcn"], 2, "Did you mean 'mtcnn'?"),
        (["empty", "--detector", "mtcn", "--sample", "0"], 2, "Did you mean 'mtcnn'?"),
        (["empty", "--detector", "landmarks"], 2, "knows the photos, not the crops. Use mtcnn"),
        (["empty", "--device", "gpu", "--sample", "0"], 2, "the device is 'gpu'. Use auto, cpu or cuda"),
        (["broken"], 1, "broken: the one image is not whole: a.jpg: the file is empty"),
        (["empty", "--detector-file", "x.onnx"], 2, "MTCNN takes no file"),
        (["empty", "--sample", "-1"], 2, "--sample"),
        (["empty", "--workers", "0"], 2, "--workers"),
    ],
)
def test_wrong_calls(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"")
    (tmp_path / "file.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    outcome = call("inspect", *arguments)
    assert outcome.status == status
    assert message in outcome.err


def test_names_cannot_command_the_terminal(call: Call, faces: Path, tmp_path: Path) -> None:
    crops = Path(shutil.copytree(faces, tmp_path / "[red]\x1b[31m"))
    (crops / "\x1b[31m.jpg").write_bytes(b"")
    (crops / "a.\x1b").write_bytes(b"")
    outcome = call("inspect", crops, "--sample", 0, "--strict")
    assert outcome.status == 1
    assert "\x1b" not in outcome.out + outcome.err
    assert "\\x1b[31m.jpg" in outcome.out
    assert "[red]\\x1b[31m" in outcome.out.replace("\n", "")  # a long title is wrapped
    assert "[red]\\x1b[31m: 1 warning" in outcome.err
