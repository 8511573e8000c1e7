from __future__ import annotations

import json
import os
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facedistill.align import crops as crops_module
from facedistill.align import journal as journal_module
from facedistill.align import pipeline as pipeline_module
from facedistill.align.choice import Limits
from facedistill.align.detectors import DETECTORS, FaceDetector, Faces
from facedistill.align.pipeline import align_folder
from facedistill.align.review import Review
from facedistill.align.table import FaceRow, MissedRow, read_faces, read_missed
from facedistill.align.template import template
from facedistill.data.images import image_names, read_image, write_image
from facedistill.errors import DataError, UsageError

MakePhotos = Callable[..., Path]
Find = Callable[[np.ndarray], np.ndarray | None]
Telling = Callable[[Faces], FaceDetector]

NAMES = ("ann/1.png", "ann/2.png", "bob/deep/er/1.png", "top.png")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def crops(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in image_names(folder)}


def faces(out: Path) -> dict[str, FaceRow]:
    return {row.crop: row for row in read_faces(out)}


def missed(out: Path) -> dict[str, MissedRow]:
    return {row.photo: row for row in read_missed(out)}


def face_at(*places: tuple[float, float, float]) -> Faces:
    """Faces as the template has them, each with its upper left corner at x, y and of a side."""
    boxes = np.array([(x, y, x + side, y + side) for x, y, side in places], np.float32)
    landmarks = np.array([(x, y) + template() / 112 * side for x, y, side in places], np.float32)
    return Faces(boxes, np.linspace(0.9, 0.5, len(places), dtype=np.float32), landmarks)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "crops"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "CHUNK", 3)


@pytest.mark.parametrize("size", [112, 128, 56])
def test_crop_contract(
    make_photos: MakePhotos, dot_detector: FaceDetector, find_dots: Find, out: Path, size: int
) -> None:
    """Photos with dots at the landmarks -> crops with the dots on the template, in the same folders."""
    photos = make_photos(*NAMES)
    report = align_folder(photos, out, detector=dot_detector, size=size, image_format="png", workers=1)
    assert report.crops == report.photos == len(NAMES)
    assert list(crops(out)) == list(NAMES)
    for name, row in faces(out).items():
        crop = read_image(out / name)
        assert crop.shape == (size, size, 3)
        dots = find_dots(crop)
        assert dots is not None
        assert np.abs(dots - template(size)).max() < 0.2
        drawn = find_dots(read_image(photos / row.photo))
        np.testing.assert_allclose(np.array(row.landmarks).reshape(5, 2), drawn, atol=0.01)
        assert (row.attempt, row.faces, row.score) == ("plain", 1, 0.9)
        moved = np.array(row.landmarks).reshape(5, 2) @ np.array(row.matrix).reshape(2, 3)[:, :2].T
        np.testing.assert_allclose(moved + np.array(row.matrix)[[2, 5]], template(size), atol=0.1)
        assert row.bytes == len((out / name).read_bytes())


@pytest.mark.parametrize(("image_format", "magic"), [("jpg", b"\xff\xd8"), ("png", b"\x89PNG"), ("webp", b"RIFF")])
def test_formats(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, image_format: str, magic: bytes
) -> None:
    align_folder(make_photos("a/x.png", "a/y.bmp"), out, detector=dot_detector, image_format=image_format)
    assert sorted(crops(out)) == [f"a/x.{image_format}", f"a/y.{image_format}"]
    assert all(content.startswith(magic) for content in crops(out).values())


def test_quality(make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path) -> None:
    photos = make_photos("a.png")
    for quality in (30, 100):
        align_folder(photos, tmp_path / str(quality), detector=dot_detector, quality=quality)
    assert len(crops(tmp_path / "30")["a.jpg"]) < len(crops(tmp_path / "100")["a.jpg"])


@pytest.mark.usefixtures("small_chunks")
def test_the_number_of_workers_changes_nothing(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path
) -> None:
    photos = make_photos(*(f"{index}.png" for index in range(10)))
    seen: list[tuple[int, int]] = []
    align_folder(photos, tmp_path / "one", detector=dot_detector, workers=1)
    align_folder(
        photos,
        tmp_path / "many",
        detector=dot_detector,
        workers=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert files(tmp_path / "one") == files(tmp_path / "many")
    assert len(crops(tmp_path / "one")) == 10
    assert seen == [(3, 10), (6, 10), (9, 10), (10, 10)]


def test_the_summary_says_what_the_crops_are(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("1.png", "2.png")
    (photos / "notes.txt").write_text("x")
    (photos / "raw.heic").write_text("x")
    report = align_folder(photos, out, detector=dot_detector, size=128)
    summary = json.loads((out / "align-report.json").read_text())
    assert summary == report.summary()
    assert summary["size"] == 128
    assert summary["color"] == "rgb"
    assert summary["template"] == "arcface"
    assert summary["template_points"][2] == pytest.approx([64.0252, 71.7366])
    assert summary["detector"] == {"name": "dots"}
    assert summary["statuses"] == {"aligned": 2}
    assert summary["ignored"] == {".heic": 1, ".txt": 1}
    assert summary["strangers"] == 0
    assert (out / "report.html").is_file()


def test_all_faces(make_photos: MakePhotos, telling: Telling, find_dots: Find, out: Path) -> None:
    photos = make_photos("a/x.png", "y.png")
    detector = telling(face_at((60, 50, 60), (10, 10, 30), (0, 100, 40)))
    report = align_folder(photos, out, detector=detector, face="all", limits=Limits(min_face=35))
    assert list(crops(out)) == ["a/x.face0.jpg", "a/x.face1.jpg", "y.face0.jpg", "y.face1.jpg"]
    rows = faces(out)
    assert [rows[name].size for name in rows] == [60, 40, 60, 40]
    assert rows["y.face1.jpg"].faces == 3
    assert (report.crops, report.statuses) == (4, {"aligned": 2})
    assert [(row.photo, row.status, row.reason) for row in read_missed(out)] == [
        ("a/x.png", "filtered", "the face is 30 pixels large, below 35"),
        ("y.png", "filtered", "the face is 30 pixels large, below 35"),
    ]
    assert report.summary()["faces_refused"] == 2


def test_one_face_of_several(make_photos: MakePhotos, telling: Telling, tmp_path: Path) -> None:
    photos = make_photos("x.png")
    detector = telling(face_at((140, 120, 36), (60, 50, 60), (0, 0, 80)))
    for face, size in (("main", 60), ("largest", 80), ("central", 60), ("best", 36)):
        report = align_folder(photos, tmp_path / face, detector=detector, face=face)
        assert faces(tmp_path / face)["x.jpg"].size == size
        assert missed(tmp_path / face) == {}
        assert report.summary()["faces_not_chosen"] == 2


def test_filtered_photos_are_counted(make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path) -> None:
    photos = make_photos("x.png", "y.png")
    for name, limits, reason in (
        ("score", Limits(min_score=0.95), "score 0.90 is below 0.95"),
        ("size", Limits(min_face=100), "pixels large, below 100"),
        ("sharpness", Limits(min_sharpness=300), "the sharpness "),
    ):
        report = align_folder(photos, tmp_path / name, detector=dot_detector, limits=limits)
        assert report.statuses == {"filtered": 2}
        assert crops(tmp_path / name) == {}
        assert missed(tmp_path / name)["y.png"].status == "filtered"
        assert reason in missed(tmp_path / name)["y.png"].reason


BAD_LANDMARKS = {
    "coincide": np.full((5, 2), 7.0),
    "on one line": np.stack([np.arange(5) * 9.0, np.arange(5) * 9.0], axis=1),
    "not finite": np.full((5, 2), np.nan),
    "outside": template() + 1000,
    "mirrored": template()[[1, 0, 2, 4, 3]],
}


@pytest.mark.parametrize("reason", BAD_LANDMARKS)
def test_bad_landmarks_give_no_crop(make_photos: MakePhotos, telling: Telling, out: Path, reason: str) -> None:
    detector = telling(
        Faces(np.ones((1, 4), np.float32), np.ones(1, np.float32), BAD_LANDMARKS[reason][None].astype(np.float32))
    )
    report = align_folder(make_photos("a.png"), out, detector=detector)
    assert report.statuses == {"bad landmarks": 1}
    assert crops(out) == {}
    assert reason in missed(out)["a.png"].reason


def damaged_photos(photos: Path) -> dict[str, str]:
    """Write files that are no whole image; name -> a part of the reason expected."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8)
    for suffix in ("jpg", "png"):
        write_image(photos / f"cut.{suffix}", noise)
        content = (photos / f"cut.{suffix}").read_bytes()
        (photos / f"cut_{suffix}.{suffix}").write_bytes(content[: len(content) // 2])
        (photos / f"cut.{suffix}").unlink()
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_bytes(b"<html>not found</html>")
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    (photos / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return {
        "cut_jpg.jpg": "truncated",
        "cut_png.png": "truncated",
        "empty.jpg": "corrupt, empty or of an unknown kind",
        "text.jpg": "corrupt, empty or of an unknown kind",
        "bomb.png": "",
    }


def test_damaged_photos_are_listed_and_skipped(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("good.png")
    expected = damaged_photos(photos)
    write_image(photos / "nobody.png", np.zeros((50, 50, 3), np.uint8))
    write_image(photos / "point.png", np.zeros((1, 1, 3), np.uint8))
    write_image(photos / "wide.png", np.zeros((3, 20_000, 3), np.uint8))
    report = align_folder(photos, out, detector=dot_detector, workers=2)
    assert list(crops(out)) == ["good.jpg"]
    rows = missed(out)
    for name, reason in expected.items():
        assert rows[name].status == "unreadable"
        assert reason in rows[name].reason
        assert rows[name].reason
    for name in ("nobody.png", "point.png", "wide.png"):
        assert (rows[name].status, rows[name].reason) == ("no face", "the detector found no face")
    assert report.statuses == {"aligned": 1, "unreadable": len(expected), "no face": 3}


@pytest.mark.parametrize("workers", [1, 2])
def test_strict_stops_at_a_damaged_photo(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, workers: int
) -> None:
    photos = make_photos("a.png", "c.png")
    (photos / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png: the image is corrupt"):
        align_folder(photos, out, detector=dot_detector, strict=True, workers=workers)
    assert not (out / "align-report.json").exists()


def test_two_photos_of_one_crop_name(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a/x.bmp", "a/x.png", "b/x.png")
    report = align_folder(photos, out, detector=dot_detector)
    assert sorted(crops(out)) == ["a/x.jpg", "b/x.jpg"]
    assert report.statuses == {"aligned": 2, "name taken": 1}
    assert missed(out)["a/x.png"].reason == "its crop would replace that of a/x.bmp (a/x.jpg)"
    with pytest.raises(DataError, match=r"x\.png: its crop would replace that of a/x\.bmp"):
        align_folder(photos, out.with_name("strict"), detector=dot_detector, strict=True)


def test_odd_names(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    names = ('Zoë, "die" 2/ж.png', "a b/x\ny.png", "a b/\udcff.png", "a b/.hidden.png", "n" * 251 + ".png")
    photos = make_photos(*names)
    report = align_folder(photos, out, detector=dot_detector, image_format="webp")
    assert report.crops == 3
    assert sorted(row.photo for row in read_faces(out)) == sorted(names[:3])
    assert set(crops(out)) == {name.replace(".png", ".webp") for name in names[:3]}
    assert missed(out)[names[4]].reason == "the name of its crop is too long"
    again = align_folder(photos, out, detector=dot_detector, image_format="webp", resume=True)
    assert (again.worked, again.review) == (0, Review())


def test_links(make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, out: Path) -> None:
    photos = make_photos("a/x.png")
    make_photos("secret.png", folder="elsewhere")
    (photos / "inside.png").symlink_to(photos / "a" / "x.png")
    (photos / "outside.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (photos / "folder").symlink_to(tmp_path / "elsewhere")
    (photos / "round").symlink_to(photos)
    report = align_folder(photos, out, detector=dot_detector)
    assert sorted(crops(out)) == ["a/x.jpg", "inside.jpg"]
    assert missed(out)["outside.png"].status == "outside link"
    assert report.statuses["aligned"] == 2


def test_a_crop_never_lands_among_the_photos(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a/x.jpg")
    before = files(photos)
    align_folder(photos, out, detector=dot_detector)
    (out / "a" / "x.jpg").unlink()
    (out / "a").rmdir()
    (out / "a").symlink_to(photos / "a")
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError, match="the place of a crop leads out of the folder of crops"):
            align_folder(photos, out, detector=dot_detector, **options)
        assert files(photos) == before


class Interrupted(BaseException):
    """What Ctrl-C raises is no Exception either."""


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_run_can_be_resumed(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, workers: int
) -> None:
    photos = make_photos(*(f"{index:02}.png" for index in range(20)))
    (photos / "07.png").write_bytes(b"broken")
    align_folder(photos, tmp_path / "whole", detector=dot_detector)

    def stop(done: int, total: int) -> None:
        if done == 9:
            raise Interrupted

    parts = tmp_path / "parts"
    with pytest.raises(Interrupted):
        align_folder(photos, parts, detector=dot_detector, workers=workers, progress=stop)
    assert not (parts / "align-report.json").exists()
    made = crops(parts)
    assert all(crops(tmp_path / "whole")[name] == content for name, content in made.items())
    first = {name: (parts / name).stat().st_mtime_ns for name in list(made)[:8]}

    report = align_folder(photos, parts, detector=dot_detector, workers=workers, resume=True)
    assert files(parts) == files(tmp_path / "whole")
    assert {name: (parts / name).stat().st_mtime_ns for name in first} == first
    assert report.worked == 20 - 9
    assert report.statuses == {"aligned": 19, "unreadable": 1}


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of ours runs after it."""


STEPS = ("the state", "the tables", "half a table", "a crop", "half a crop")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    photos = make_photos(*(f"{index}.png" for index in range(8)))
    align_folder(photos, tmp_path / "whole", detector=dot_detector, workers=1)
    out = tmp_path / "killed"
    finish, write = journal_module.Journal.finish_chunk, crops_module.CropMaker._write

    def finish_chunk(journal: journal_module.Journal, *arguments: object) -> None:
        if journal.done != 1:
            return finish(journal, *arguments)
        if step == "the state":
            monkeypatch.setattr(journal, "_write_state", lambda: (_ for _ in ()).throw(Killed))
            return finish(journal, *arguments)
        if step == "half a table":
            with (out / "landmarks.csv").open("ab") as table:
                table.write(b'3.png,3.jpg,123,"pl')
        if step != "the tables":
            raise Killed
        with (out / "landmarks.csv").open("ab") as table:
            table.write((tmp_path / "whole" / "landmarks.csv").read_bytes()[-300:])
        raise Killed

    def write_crop(maker: crops_module.CropMaker, name: str, encoded: bytes) -> None:
        if name == "4.jpg" and step.endswith("a crop"):
            if step == "half a crop":
                (out / ".align" / "part-1").write_bytes(encoded[:50])
            raise Killed
        write(maker, name, encoded)

    with monkeypatch.context() as patch:
        patch.setattr(journal_module.Journal, "finish_chunk", finish_chunk)
        patch.setattr(crops_module.CropMaker, "_write", write_crop)
        with pytest.raises(Killed):
            align_folder(photos, out, detector=dot_detector, workers=1)
    assert files(out) != files(tmp_path / "whole")
    align_folder(photos, out, detector=dot_detector, workers=1, resume=True)
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.usefixtures("small_chunks")
def test_photos_that_come_later_are_taken_in(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("b.png", "c.png", "d.png", "e.png")
    align_folder(photos, out, detector=dot_detector)
    before = {name: (out / name).stat().st_mtime_ns for name in crops(out)}
    make_photos("a.png", "f.png")
    report = align_folder(photos, out, detector=dot_detector, resume=True)
    assert (report.worked, report.added, report.crops) == (2, 2, 6)
    assert [row.photo for row in read_faces(out)] == ["b.png", "c.png", "d.png", "e.png", "a.png", "f.png"]
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert json.loads((out / "align-report.json").read_text())["photos"] == 6
    assert align_folder(photos, out, detector=dot_detector, resume=True).worked == 0


def test_missing_and_damaged_crops_are_made_again(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path
) -> None:
    photos = make_photos("a.png", "b.png", "c.png")
    align_folder(photos, out, detector=dot_detector)
    before = files(out)
    (out / "a.jpg").unlink()
    (out / "b.jpg").write_bytes(b"")  # as a power cut may leave it
    report = align_folder(photos, out, detector=dot_detector, resume=True)
    assert report.review == Review(remade=2)
    assert files(out) == before


@pytest.mark.usefixtures("small_chunks")
def test_photos_that_have_gone_stop_nothing(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos(*(f"{index}.png" for index in range(6)))

    def stop(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        align_folder(photos, out, detector=dot_detector, workers=1, progress=stop)
    for index in (0, 4):
        (photos / f"{index}.png").unlink()
    (out / "0.jpg").unlink()
    report = align_folder(photos, out, detector=dot_detector, workers=1, resume=True)
    assert report.statuses == {"aligned": 5, "unreadable": 1}
    assert "No such file" in missed(out)["4.png"].reason
    assert (report.review, report.strangers) == (Review(lost=1, gone=1), 0)
    assert set(crops(out)) == {"1.jpg", "2.jpg", "3.jpg", "5.jpg"}


def touch_later(path: Path) -> None:
    """As if the file had been written a minute from now."""
    later = path.stat().st_mtime + 60
    os.utime(path, (later, later))


@pytest.mark.usefixtures("small_chunks")
def test_what_could_not_be_read_is_tried_again(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a.png", "b.png", "c.png", "d.png", "e.png")
    whole = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(whole[:200])
    (photos / "d.png").write_bytes(b"never an image")
    align_folder(photos, out, detector=dot_detector)
    before = files(out)
    assert align_folder(photos, out, detector=dot_detector, resume=True).worked == 0  # nothing is newer
    assert files(out) == before
    (photos / "b.png").write_bytes(whole)
    touch_later(photos / "b.png")
    touch_later(photos / "d.png")
    report = align_folder(photos, out, detector=dot_detector, resume=True)
    assert report.review == Review(retry=("b.png", "d.png"))
    assert report.statuses == {"aligned": 4, "unreadable": 1}
    assert [row.photo for row in read_faces(out)] == ["a.png", "c.png", "e.png", "b.png"]
    assert list(missed(out)) == ["d.png"]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("step", range(1, 6))
def test_a_kill_while_photos_are_taken_back(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    photos = make_photos("a.png", "b.png", "c.png", "d.png", "e.png")
    (photos / "b.png").write_bytes(b"not yet")

    def prepare(out: Path) -> None:
        align_folder(photos, out, detector=dot_detector)
        touch_later(photos / "b.png")

    prepare(tmp_path / "whole")
    align_folder(photos, tmp_path / "whole", detector=dot_detector, resume=True)
    prepare(tmp_path / "killed")
    writes = 0
    write = journal_module.write_atomically

    def write_or_die(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == step:
            raise Killed
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "write_atomically", write_or_die)
        with pytest.raises(Killed):
            align_folder(photos, tmp_path / "killed", detector=dot_detector, resume=True)
    touch_later(photos / "b.png")
    align_folder(photos, tmp_path / "killed", detector=dot_detector, resume=True)
    assert list(missed(tmp_path / "killed")) == ["b.png"]
    assert crops(tmp_path / "killed") == crops(tmp_path / "whole")
    assert [row.photo for row in read_faces(tmp_path / "killed")] == ["a.png", "c.png", "d.png", "e.png"]
    summaries = [json.loads((tmp_path / name / "align-report.json").read_text()) for name in ("whole", "killed")]
    assert summaries[0] == summaries[1]


def test_a_replaced_photo_never_gets_the_landmarks_of_another(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path
) -> None:
    photos = make_photos("a.png", "b.png")
    align_folder(photos, out, detector=dot_detector)
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    touch_later(photos / "a.png")
    (out / "a.jpg").unlink()
    report = align_folder(photos, out, detector=dot_detector, resume=True)
    assert report.review == Review(lost=1, changed=1)
    assert list(crops(out)) == ["b.jpg"]


def test_two_runs_into_one_folder(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a.png", "b.png")

    def another(done: int, total: int) -> None:
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(UsageError, match=r"another run is aligning into this folder|is not empty"):
                align_folder(photos, out, detector=dot_detector, **options)

    assert align_folder(photos, out, detector=dot_detector, progress=another).crops == 2
    assert len(faces(out)) == 2


def test_a_run_that_came_and_went_meanwhile(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos("a.png")
    scan = pipeline_module.scan_folder

    def another_first(folder: Path) -> object:
        monkeypatch.setattr(pipeline_module, "scan_folder", scan)
        align_folder(photos, out, detector=dot_detector)
        return scan(folder)

    monkeypatch.setattr(pipeline_module, "scan_folder", another_first)
    with pytest.raises(UsageError, match="the output folder is not empty"):
        align_folder(photos, out, detector=dot_detector, image_format="png")
    assert list(crops(out)) == ["a.jpg"]
    assert len(faces(out)) == 1


@pytest.mark.parametrize("step", range(1, 5))
@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_kill_at_the_very_beginning(
    make_photos: MakePhotos,
    dot_detector: FaceDetector,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    options: dict[str, bool],
) -> None:
    photos = make_photos("a.png")
    writes = 0
    write = journal_module.write_atomically

    def write_or_die(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == step:
            path.with_name(f".{path.name}.partial").write_bytes(content[:3])
            raise Killed
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "write_atomically", write_or_die)
        with pytest.raises(Killed):
            align_folder(photos, out, detector=dot_detector)
    assert align_folder(photos, out, detector=dot_detector, **options).crops == 1


def test_a_table_that_is_a_link_is_left_alone(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, out: Path
) -> None:
    photos = make_photos("a.png")
    align_folder(photos, out, detector=dot_detector)
    mine = tmp_path / "mine.csv"
    mine.write_bytes((out / "landmarks.csv").read_bytes() + b"more\n")
    before = mine.read_bytes()
    (out / "landmarks.csv").unlink()
    (out / "landmarks.csv").symlink_to(mine)
    with pytest.raises(DataError, match="missing, too short or another one"):
        align_folder(photos, out, detector=dot_detector, resume=True)
    assert mine.read_bytes() == before


def test_a_place_that_is_taken(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    """A folder where a crop would lie, and a folder of the name of a table."""
    photos = make_photos("a.jpg/x.png", "landmarks.csv/y.png", "z.png")
    align_folder(photos, out, detector=dot_detector)
    make_photos("a.png")
    report = align_folder(photos, out, detector=dot_detector, resume=True)
    assert sorted(crops(out)) == ["a.jpg/x.jpg", "z.jpg"]
    assert missed(out)["landmarks.csv/y.png"].reason == (
        "the place of its crop is taken by something else (landmarks.csv/y.jpg)"
    )
    assert missed(out)["a.png"].status == "name taken"
    assert report.statuses == {"aligned": 2, "name taken": 2}


def test_strict_goes_on_once_the_photo_is_removed(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path
) -> None:
    photos = make_photos("a.png", "c.png")
    (photos / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="Repair or remove it, or leave out --strict"):
        align_folder(photos, out, detector=dot_detector, strict=True)
    (photos / "b.png").unlink()
    report = align_folder(photos, out, detector=dot_detector, strict=True, resume=True)
    assert report.statuses == {"aligned": 2, "unreadable": 1}


def test_a_folder_of_links(make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, out: Path) -> None:
    photos = make_photos("a.png")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(photos / "a.png")
    with pytest.raises(DataError, match=r"1 symbolic link\(s\) out of it are not followed\. Copy into it"):
        align_folder(tmp_path / "links", out, detector=dot_detector)


@pytest.mark.usefixtures("small_chunks")
def test_what_is_done_when_a_worker_fails_is_kept(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos(*(f"{index}.png" for index in range(12)))
    make = crops_module.CropMaker.make
    failed = threading.Event()

    def fail_third(maker: crops_module.CropMaker, jobs: list[crops_module.Job], stop: threading.Event) -> object:
        if jobs[0].photo == "4.png":
            failed.set()
            raise KeyboardInterrupt
        if jobs[0].photo in ("0.png", "11.png"):
            failed.wait(5)  # done only after the failure is known
        return make(maker, jobs, threading.Event())

    with monkeypatch.context() as patch:
        patch.setattr(crops_module.CropMaker, "make", fail_third)
        with pytest.raises(KeyboardInterrupt):
            align_folder(photos, out, detector=dot_detector, workers=4)
    assert [row.photo for row in read_faces(out)] == [f"{index}.png" for index in (0, 1, 10, 11, 2, 3)]


def test_a_worker_that_is_told_to_stop(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a.png")
    maker = crops_module.CropMaker(photos, out, dot_detector, 112, ".jpg", 95, "main", Limits())
    stop = threading.Event()
    stop.set()
    with pytest.raises(crops_module.Stopped):
        maker.make([crops_module.Job("a.png")], stop)


def test_another_size_without_a_detector(make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path) -> None:
    """The table of one alignment is the detector of the next; at the same size the crops are the same to the byte."""
    photos = make_photos(*NAMES)
    align_folder(photos, tmp_path / "first", detector=dot_detector)
    known = DETECTORS["landmarks"](file=tmp_path / "first" / "landmarks.csv")
    align_folder(photos, tmp_path / "same", detector=known)
    assert crops(tmp_path / "same") == crops(tmp_path / "first")
    align_folder(photos, tmp_path / "large", detector=known, size=224, image_format="png")
    align_folder(photos, tmp_path / "direct", detector=dot_detector, size=224, image_format="png")
    assert crops(tmp_path / "large") == crops(tmp_path / "direct")


def test_a_full_disk(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos("a.png", "b.png")

    def fail(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(crops_module.Path, "write_bytes", fail)
        with pytest.raises(DataError, match=r"the crops cannot be written \(No space left on device\).*--resume"):
            align_folder(photos, out, detector=dot_detector, workers=1)
    assert image_names(out) == []


def test_a_disk_that_fills_up_on_the_way(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "CHUNK", 2)
    photos = make_photos(*(f"{index}.png" for index in range(6)))
    align_folder(photos, tmp_path / "whole", detector=dot_detector, workers=1)
    write = crops_module.CropMaker._write
    out = tmp_path / "full"

    def fail(maker: crops_module.CropMaker, name: str, encoded: bytes) -> None:
        if name == "3.jpg":
            raise OSError(28, "No space left on device")
        write(maker, name, encoded)

    with monkeypatch.context() as patch:
        patch.setattr(crops_module.CropMaker, "_write", fail)
        with pytest.raises(DataError, match="No space left on device"):
            align_folder(photos, out, detector=dot_detector, workers=1)
    assert {"0.jpg", "1.jpg", "2.jpg"} <= set(crops(out))
    assert all(crops(tmp_path / "whole")[name] == content for name, content in crops(out).items())
    assert "3.jpg" not in crops(out)
    align_folder(photos, out, detector=dot_detector, workers=1, resume=True)
    assert files(out) == files(tmp_path / "whole")


def test_an_output_that_cannot_be_written(make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"the crops cannot be written \(Not a directory\)"):
        align_folder(make_photos("a.png"), tmp_path / "file" / "crops", detector=dot_detector)


def test_an_occupied_output_folder(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a.png")
    align_folder(photos, out, detector=dot_detector)
    before = files(out)
    with pytest.raises(UsageError, match=r"the output folder is not empty\. Use --resume"):
        align_folder(photos, out, detector=dot_detector)
    assert files(out) == before


def test_overwriting_removes_the_earlier_alignment_and_nothing_else(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path
) -> None:
    align_folder(make_photos("a.png", "gone.png"), out, detector=dot_detector)
    (out / "mine.txt").write_text("mine")
    photos = make_photos("b.png", folder="others")
    report = align_folder(photos, out, detector=dot_detector, image_format="png", overwrite=True)
    assert list(crops(out)) == ["b.png"]
    assert (out / "mine.txt").read_text() == "mine"
    assert report.crops == 1


@pytest.mark.parametrize("options", [{}, {"overwrite": True}])
def test_a_folder_of_something_else_is_left_alone(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, options: dict[str, bool]
) -> None:
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="crops: the output folder holds something else than an alignment"):
        align_folder(make_photos("a.png"), out, detector=dot_detector, **options)
    assert list(files(out)) == ["mine.txt"]


def test_strangers_are_counted(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a.png")
    align_folder(photos, out, detector=dot_detector)
    write_image(out / "stranger.jpg", np.zeros((9, 9, 3), np.uint8))
    assert align_folder(photos, out, detector=dot_detector, resume=True).strangers == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 128}, "the earlier run had size 112, this one has 128"),
        ({"image_format": "png"}, "the earlier run had format 'jpg', this one has 'png'"),
        ({"face": "all"}, "the earlier run had face 'main', this one has 'all'"),
        ({"limits": Limits(min_score=0.5)}, "the earlier run had limits.min_score None, this one has 0.5"),
    ],
)
def test_resuming_with_other_settings(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, options: dict[str, object], message: str
) -> None:
    photos = make_photos("a.png")
    align_folder(photos, out, detector=dot_detector)
    before = files(out)
    with pytest.raises(UsageError, match=message):
        align_folder(photos, out, detector=dot_detector, resume=True, **options)
    assert files(out) == before


def test_resuming_with_other_photos(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    align_folder(make_photos("a.png"), out, detector=dot_detector)
    with pytest.raises(UsageError, match="the earlier run had source"):
        align_folder(make_photos("a.png", folder="others"), out, detector=dot_detector, resume=True)


def test_resuming_what_never_began(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    """A script may always say --resume."""
    photos = make_photos("a.png")
    assert align_folder(photos, out, detector=dot_detector, resume=True).crops == 1
    other = out.with_name("other")
    other.mkdir()
    (other / "a.jpg").write_bytes(b"whose is this?")
    with pytest.raises(UsageError, match="the output folder holds something else than an alignment"):
        align_folder(photos, other, detector=dot_detector, resume=True)


DAMAGED = "the record of the earlier run is damaged"
DAMAGES = [
    (".align/state.json", b"", b"{", DAMAGED),
    (".align/state.json", b'"counts": {', b'"counts": [', DAMAGED),
    (".align/state.json", b'"done": 1', b'"done": 0', "0 chunks of 1 are done, with 1 photos"),
    (".align/state.json", b'"done": 1', b'"done": -1', DAMAGED),
    (".align/state.json", b'"done": 1', b'"done": "x"', DAMAGED),
    (".align/state.json", b'"settings"', b'"setting"', DAMAGED),
    (".align/photos.txt", b"", b"no json", DAMAGED),
    (".align/photos.txt", b'"a.png"', b"5", "5 is no name of a photo"),
    (".align/photos.txt", b'"a.png"', b"[1]", DAMAGED),
    ("landmarks.csv", b"", b"photo", "the table of the earlier run is missing, too short or another one"),
    (
        "landmarks.csv",
        b"photo,crop",
        b"x,y,z,crop",
        "the table of the earlier run is missing, too short or another one",
    ),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), DAMAGES)
def test_a_damaged_record(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, name: str, old: bytes, new: bytes, message: str
) -> None:
    content = new
    photos = make_photos("a.png")
    align_folder(photos, out, detector=dot_detector)
    if old:
        assert old in (out / name).read_bytes()
        content = (out / name).read_bytes().replace(old, new)
    (out / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        align_folder(photos, out, detector=dot_detector, resume=True)
    assert align_folder(photos, out, detector=dot_detector, overwrite=True).crops == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "0 workers cannot work"),
        ({"image_format": "gif"}, "crops cannot be written as 'gif'. Use jpg, png, webp"),
        ({"overwrite": True, "resume": True}, "--overwrite and --resume exclude one another"),
        ({"size": 0}, "the crop size is 0"),
        ({"quality": 0}, "the quality is 0"),
        ({"face": "nearest"}, "there is no choice of face called 'nearest'"),
    ],
)
def test_wrong_options(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        align_folder(make_photos("a.png"), out, detector=dot_detector, **options)
    assert not out.exists()


def test_no_such_folder(dot_detector: FaceDetector, tmp_path: Path, out: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: there is no such folder of photos"):
        align_folder(tmp_path / "nowhere", out, detector=dot_detector)


def test_a_folder_without_images(dot_detector: FaceDetector, tmp_path: Path, out: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "list.txt").write_text("x")
    with pytest.raises(DataError, match="photos: the folder holds no images"):
        align_folder(tmp_path / "photos", out, detector=dot_detector)
    assert not out.exists()


@pytest.mark.parametrize("place", ["photos", "photos/crops", ".", "photos/../photos/x"])
def test_folders_within_one_another(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, place: str
) -> None:
    photos = make_photos("a.png")
    with pytest.raises(UsageError, match="lie in one another"):
        align_folder(photos, tmp_path / place, detector=dot_detector, overwrite=True)
    assert list(files(photos)) == ["a.png"]


def test_the_output_is_a_file(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    out.write_text("x")
    with pytest.raises(UsageError, match="crops: the output is a file, not a folder"):
        align_folder(make_photos("a.png"), out, detector=dot_detector)


@pytest.mark.realdata
def test_every_real_photo_has_a_face(realdata: Path, tmp_path: Path) -> None:
    """Twenty photos of different people; their crops look like those of a public, aligned copy."""
    source = realdata / "data" / "lfw" / "raw"
    people = [path for path in sorted((realdata / "data" / "lfw" / "aligned").iterdir()) if path.is_dir()][::180][:20]
    for person in people:
        name = next(iter(sorted(person.iterdir()))).name
        photo = tmp_path / "photos" / person.name / name
        photo.parent.mkdir(parents=True)
        photo.write_bytes((source / person.name / name).read_bytes())
    report = align_folder(tmp_path / "photos", tmp_path / "crops", detector=DETECTORS["mtcnn"]())
    assert report.crops == len(people) == 20
    for row in read_faces(tmp_path / "crops"):
        ours = read_image(tmp_path / "crops" / row.crop).astype(float).ravel()
        theirs = read_image(realdata / "data" / "lfw" / "aligned" / row.crop).astype(float).ravel()
        assert np.corrcoef(ours, theirs)[0, 1] > 0.8
