from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.data.exclusions import exclude, read_exclusions
from facedistill.data.folder import FolderDataset
from facedistill.data.synthetic import SyntheticFaces, write_photos
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing

from .conftest import Call


def test_a_good_folder(call: Call, faces: Path, tmp_path: Path) -> None:
    outcome = call("inspect", faces, "--sample", 0, "--strict", "--json", tmp_path / "r.json")
    assert outcome.status == 0, outcome.err
    assert "min 6, 5 % 6, 25 % 6, median 6, 75 % 6, 95 % 6, max 6" in outcome.out
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
        (["nowhere"], 2, "nowhere: there is no such data set"),
        (["file.md"], 1, "file.md: a file that ends in '.md' is no data set"),
        (["empty"], 1, "empty: the folder holds no images"),
        (["empty", "--detector", "mtcn"], 2, "Did you mean 'mtcnn'?"),
        (["empty", "--detector", "mtcn", "--sample", "0"], 2, "Did you mean 'mtcnn'?"),
        (["empty", "--detector", "landmarks"], 2, "knows the photos, not the crops. Use mtcnn"),
        (["empty", "--device", "gpu", "--sample", "0"], 2, "the device is 'gpu'. Use auto, cpu or cuda"),
        (["broken"], 1, "broken: the one image is not whole: a.jpg: the file is empty"),
        (["empty", "--detector-file", "x.onnx"], 2, "MTCNN takes no file"),
        (["empty", "--sample", "-1"], 2, "--sample"),
        (["empty", "--std", "128"], 2, "--color, --mean and --std are given without --model. Add --model MODEL"),
        (["empty", "--plot", "x.doc"], 2, "a plot cannot be written as '.doc'"),
        (["empty", "--exclude-list", "file.md"], 2, "the list is there already"),
        (["broken", "--against", "nowhere"], 2, "nowhere: there is no such data set"),
        (["broken", "--model", "nowhere", "--sample", "0"], 1, "nowhere: there is no such model"),
        (["empty", "--workers", "0"], 2, "--workers"),
    ],
)
def test_wrong_calls(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"")
    (tmp_path / "file.md").write_text("x")
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


def test_a_benchmark_a_picture_and_a_list_for_training(call: Call, faces: Path, tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    shutil.copytree(faces / "person_000002", bench / "somebody")
    options = ["--sample", 0, "--against", bench, "--exclude-list", tmp_path / "x.csv"]
    outcome = call("inspect", faces, *options, "--plot", tmp_path / "h.svg", "--json", tmp_path / "r.json")
    assert outcome.status == 0, outcome.err
    assert "6 images are in the benchmark" in outcome.err
    assert "6 images and 0 identities to leave out" in outcome.out
    assert (tmp_path / "h.svg").read_bytes().startswith(b"<?xml")
    assert len(json.loads((tmp_path / "r.json").read_text())["overlaps"][0]["pictures"]) == 6
    left = exclude(FolderDataset(faces), read_exclusions(tmp_path / "x.csv"))
    assert len(left) == 42
    assert "person_000002" not in left.identities
    again = call("inspect", faces, *options)
    assert again.status == 2
    assert "the list is there already. Add --overwrite" in again.err
    assert call("inspect", faces, *options, "--overwrite", "--quiet").status == 0


def test_a_model_that_judges_the_labels(call: Call, faces: Path, tmp_path: Path) -> None:
    backbone = build_backbone("tinyfacenet", embedding_size=8, width=0.5, input_size=64)
    backbone(torch.randn(8, 3, 64, 64))  # knows nothing, and is asked all the same
    checkpoint = Checkpoint(backbone.eval(), BackboneSpec("tinyfacenet", 8, 0.5), Preprocessing(size=64))
    save_checkpoint(tmp_path / "m.safetensors", checkpoint)
    outcome = call(
        "inspect", faces, "made-up:20x3,size=64,first=100,difficulty=0.3", "--sample", 0, "--device", "cpu",
        "--model", tmp_path / "m.safetensors", "--json", tmp_path / "r.json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    noise = json.loads((tmp_path / "r.json").read_text())["label_noise"]
    assert noise["judged"] == 48 + 60
    assert "labels, judged by the model" in outcome.out


def test_images_of_nobody_are_not_drawn(call: Call, faces: Path, tmp_path: Path) -> None:
    outcome = call("inspect", faces / "person_000000", "--sample", 0, "--plot", tmp_path / "h.png")
    assert outcome.status == 0
    assert "is not drawn: the images belong to no identity" in outcome.err
    assert not (tmp_path / "h.png").exists()
