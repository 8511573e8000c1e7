from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.images import image_names, read_image, write_image
from facedistill.data.synthetic import SyntheticFaces, write_photos

from .conftest import Call


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of 2 made-up people, 2 of each; tests read it and never write to it."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(SyntheticFaces(2, 2, difficulty=0.3), folder)
    return folder


def test_photos_become_crops(call: Call, photos: Path, tmp_path: Path) -> None:
    out, summary = tmp_path / "crops", tmp_path / "summary.json"
    outcome = call("align", photos, out, "--workers", 1, "--size", 64, "--format", "png", "--json", summary)
    assert outcome.status == 0, outcome.err
    names = image_names(photos)
    assert image_names(out) == names
    assert len(names) == 4
    assert read_image(out / names[0]).shape == (64, 64, 3)
    assert "aligned" in outcome.out
    assert "100.00" in outcome.out
    assert "report.html" in outcome.out
    written = json.loads(summary.read_text())
    assert written["photos_this_run"] == 4
    assert {**written, **json.loads((out / "align-report.json").read_text())} == written


def test_a_run_is_resumed_and_quiet(call: Call, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    assert call("align", photos, out).status == 0
    removed = out / image_names(out)[0]
    removed.unlink()
    outcome = call("align", photos, out, "--resume", "--quiet")
    assert (outcome.status, outcome.out) == (0, "")
    assert "Crops that were missing or damaged and have been made again: 1" in outcome.err
    assert removed.is_file()


def test_photos_without_a_crop_are_named(call: Call, tmp_path: Path) -> None:
    write_photos(SyntheticFaces(1, 1, difficulty=0.3), tmp_path / "photos")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"x")
    (tmp_path / "photos" / "phone.heic").write_bytes(b"x")
    outcome = call("align", tmp_path / "photos", tmp_path / "crops")
    assert outcome.status == 0
    assert "Photos without a crop (missed.csv says why): 1" in outcome.err
    assert "no images that can be read here: 1 (1 .heic)" in outcome.err
    assert 'broken.jpg,unreadable,"the image is corrupt' in (tmp_path / "crops" / "missed.csv").read_text()
    outcome = call("align", tmp_path / "photos", tmp_path / "other", "--strict")
    assert outcome.status == 1
    assert "broken.jpg: the image is corrupt" in outcome.err


def test_strangers_are_told_of(call: Call, photos: Path, tmp_path: Path) -> None:
    assert call("align", photos, tmp_path / "crops").status == 0
    write_image(tmp_path / "crops" / "stranger.jpg", np.zeros((9, 9, 3), np.uint8))
    outcome = call("align", photos, tmp_path / "crops", "--resume")
    assert outcome.status == 0
    assert "no crop of these photos (remove them before training): 1" in outcome.err


def test_all_faces_and_limits(call: Call, photos: Path, tmp_path: Path) -> None:
    outcome = call("align", photos, tmp_path / "crops", "--face", "all", "--min-score", 0.5, "--format", "webp")
    assert outcome.status == 0, outcome.err
    assert {name.rpartition("/")[2].partition(".")[2] for name in image_names(tmp_path / "crops")} >= {"face0.webp"}
    outcome = call("align", photos, tmp_path / "none", "--min-sharpness", 1000)
    assert outcome.status == 1
    assert "filtered" in outcome.out


def test_no_face_at_all(call: Call, tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "black.png", np.zeros((80, 80, 3), np.uint8))
    outcome = call("align", tmp_path / "photos", tmp_path / "crops")
    assert outcome.status == 1
    assert "no photo gave a crop. Try --min-face 20" in outcome.err
    assert (tmp_path / "crops" / "missed.csv").is_file()


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--detector", "mtcn"], 2, "there is no detector called 'mtcn'. Did you mean 'mtcnn'?"),
        (["--format", "gif"], 2, "crops cannot be written as 'gif'. Use jpg, png, webp"),
        (["--min-face", "5"], 2, "the smallest face is 5 pixels, MTCNN sees none below 12"),
        (["--face", "nearest"], 2, "there is no choice of face called 'nearest'"),
        (["--quality", "0"], 2, "the quality is 0"),
        (["--min-score", "2"], 2, "the lowest score is 2.0"),
        (["--overwrite", "--resume"], 2, "--overwrite and --resume exclude one another"),
        (["--size", "0"], 2, "--size"),
        (["--workers", "0"], 2, "--workers"),
    ],
)
def test_wrong_options(call: Call, photos: Path, tmp_path: Path, options: list[str], status: int, message: str) -> None:
    outcome = call("align", photos, tmp_path / "crops", *options)
    assert outcome.status == status
    assert message in outcome.err
    assert not (tmp_path / "crops").exists()


def test_wrong_folders(call: Call, photos: Path, tmp_path: Path) -> None:
    outcome = call("align", tmp_path / "nowhere", tmp_path / "crops")
    assert outcome.status == 2
    assert "there is no such folder of photos" in outcome.err
    (tmp_path / "empty").mkdir()
    outcome = call("align", tmp_path / "empty", tmp_path / "crops")
    assert outcome.status == 1
    assert "the folder holds no images" in outcome.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    outcome = call("align", photos, tmp_path / "full")
    assert outcome.status == 2
    assert "the output folder holds something else than an alignment" in outcome.err
