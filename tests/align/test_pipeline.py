from __future__ import annotations

import csv
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facedistill.align import pipeline
from facedistill.align.detectors import DETECTORS, FaceDetector, Faces
from facedistill.align.pipeline import align_folder
from facedistill.align.template import template
from facedistill.data.images import find_images, read_image, write_image
from facedistill.errors import DataError, UsageError

MakePhotos = Callable[..., Path]
Find = Callable[[np.ndarray], np.ndarray | None]

NAMES = ("ann/1.png", "ann/2.png", "bob/deep/er/1.png", "top.png")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def crops(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if not name.startswith("align-report")}


def read_csv(out: Path) -> dict[str, dict[str, str]]:
    with (out / "align-report.csv").open(encoding="utf-8", newline="") as file:
        return {row["photo"]: row for row in csv.DictReader(file)}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "crops"


@pytest.mark.parametrize("size", [112, 128, 56])
def test_crop_contract(
    make_photos: MakePhotos, dot_detector: FaceDetector, find_dots: Find, out: Path, size: int
) -> None:
    """Photos with dots at the landmarks -> crops with the dots on the template, in the same folders."""
    photos = make_photos(*NAMES)
    report = align_folder(photos, out, detector=dot_detector, size=size, image_format="png", workers=1)
    assert report.crops == len(NAMES)
    assert [path.relative_to(out).as_posix() for path in find_images(out)] == list(NAMES)
    for name in NAMES:
        crop = read_image(out / name)
        assert crop.shape == (size, size, 3)
        dots = find_dots(crop)
        assert dots is not None
        assert np.abs(dots - template(size)).max() < 0.2
    rows = read_csv(out)
    for name in NAMES:
        drawn = find_dots(read_image(photos / name))
        landmarks = np.array([float(value) for value in list(rows[name].values())[-10:]]).reshape(5, 2)
        np.testing.assert_allclose(landmarks, drawn, atol=0.01)
        assert rows[name]["status"] == "aligned"
        assert rows[name]["attempt"] == "plain"


def test_crops_are_jpeg_of_the_same_name(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    align_folder(make_photos("a/x.png", "a/y.bmp"), out, detector=dot_detector)
    assert sorted(crops(out)) == ["a/x.jpg", "a/y.jpg"]
    assert all(content.startswith(b"\xff\xd8") for content in crops(out).values())


def test_the_number_of_workers_changes_nothing(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_CHUNK", 4)
    photos = make_photos(*(f"{index}.png" for index in range(10)))
    seen: list[tuple[int, int]] = []
    one = align_folder(photos, tmp_path / "one", detector=dot_detector, workers=1)
    many = align_folder(
        photos,
        tmp_path / "many",
        detector=dot_detector,
        workers=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert one.rows == many.rows
    assert crops(tmp_path / "one") == crops(tmp_path / "many")
    assert len(crops(tmp_path / "one")) == 10
    assert seen == [(done, 10) for done in range(1, 11)]


def test_the_summary_says_what_the_crops_are(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("1.png", "2.png")
    report = align_folder(photos, out, detector=dot_detector, size=128)
    summary = json.loads((out / "align-report.json").read_text())
    assert summary == report.to_dict()
    assert summary["size"] == 128
    assert summary["color"] == "rgb"
    assert summary["template"] == "arcface"
    assert summary["template_points"][2] == pytest.approx([64.0252, 71.7366])
    assert summary["detector"] == {"name": "dots"}
    assert summary["finished"] is True


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
    report = align_folder(photos, out, detector=dot_detector, workers=2)
    assert sorted(crops(out)) == ["good.jpg"]
    rows = read_csv(out)
    for name, reason in expected.items():
        assert rows[name]["status"] == "unreadable"
        assert reason in rows[name]["reason"]
        assert rows[name]["reason"]
        assert rows[name]["crop"] == ""
    assert rows["nobody.png"]["status"] == "no face"
    assert rows["nobody.png"]["reason"] == "the detector found no face"
    assert {row.photo for row in report.problems} == {*expected, "nobody.png"}
    assert report.crops == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_strict_stops_at_the_first_damaged_photo(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, workers: int
) -> None:
    photos = make_photos("a.png", "c.png")
    (photos / "b.png").write_bytes(b"no image")
    (photos / "d.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png: the image is corrupt"):
        align_folder(photos, out, detector=dot_detector, strict=True, workers=workers)
    assert json.loads((out / "align-report.json").read_text())["finished"] is False


def test_landmarks_that_coincide_are_no_face(make_photos: MakePhotos, out: Path) -> None:
    class Blind:
        name = "blind"
        settings = {"name": "blind"}  # noqa: RUF012

        def detect(self, image: np.ndarray, *, lenient: bool = False) -> Faces:
            return Faces(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.full((1, 5, 2), 7, np.float32))

    report = align_folder(make_photos("a.png"), out, detector=Blind())
    assert report.rows[0].status == "no face"
    assert report.rows[0].reason.startswith("the landmarks coincide")


def test_two_photos_of_one_crop_name(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a/x.bmp", "a/x.png", "b/x.png")
    report = align_folder(photos, out, detector=dot_detector)
    assert sorted(crops(out)) == ["a/x.jpg", "b/x.jpg"]
    assert [row.status for row in report.rows] == ["aligned", "name taken", "aligned"]
    assert report.rows[1].reason == "its crop would replace that of a/x.bmp (a/x.jpg)"
    assert report.rows[1].crop == ""
    with pytest.raises(DataError, match=r"x\.png: its crop would replace that of a/x\.bmp"):
        align_folder(photos, out.with_name("strict"), detector=dot_detector, strict=True)
    assert not out.with_name("strict").exists()


class Interrupted(BaseException):
    """What Ctrl-C raises is no Exception either."""


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_run_can_be_resumed(
    make_photos: MakePhotos, dot_detector: FaceDetector, tmp_path: Path, workers: int
) -> None:
    photos = make_photos(*(f"{index}.png" for index in range(12)))
    whole = align_folder(photos, tmp_path / "whole", detector=dot_detector)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise Interrupted

    out = tmp_path / "parts"
    with pytest.raises(Interrupted):
        align_folder(photos, out, detector=dot_detector, workers=workers, progress=stop)
    assert json.loads((out / "align-report.json").read_text())["finished"] is False
    assert 5 <= len(crops(out)) < 12 or workers > 1
    made = crops(out)
    assert all(crops(tmp_path / "whole")[name] == content for name, content in made.items())
    (out / "7.jpg").unlink(missing_ok=True)
    kept = {path: path.stat().st_mtime_ns for path in find_images(out)}

    report = align_folder(photos, out, detector=dot_detector, workers=workers, resume=True)
    assert crops(out) == crops(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert report.count("kept") == len(kept)
    assert report.count("aligned") == 12 - len(kept)
    assert json.loads((out / "align-report.json").read_text())["finished"] is True
    # What the first part of the run wrote into the table is still there.
    assert report.rows[0].landmarks == pytest.approx(whole.rows[0].landmarks, abs=0.01)
    assert read_csv(out)["0.png"]["left_eye_x"] == f"{whole.rows[0].landmarks[0]:.2f}"


def test_a_resumed_run_that_is_interrupted_keeps_the_table(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path
) -> None:
    photos = make_photos("a.png", "b.png", "c.png")
    align_folder(photos, out, detector=dot_detector, workers=1)
    before = read_csv(out)

    def stop(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        align_folder(photos, out, detector=dot_detector, workers=1, resume=True, progress=stop)
    after = read_csv(out)
    assert after["a.png"] == {**before["a.png"], "status": "kept"}
    assert after["b.png"] == before["b.png"]
    assert after["c.png"] == before["c.png"]


def test_a_crop_is_never_half_written(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos("a.png", "b.png")

    def fail(path: Path, image: np.ndarray) -> None:
        path.write_bytes(b"half a ")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_image", fail)
        with pytest.raises(OSError, match="No space left"):
            align_folder(photos, out, detector=dot_detector, workers=1)
    assert find_images(out) == []
    (out / ".gone.aligning.jpg").write_bytes(b"half")  # of a photo that has been removed since
    assert align_folder(photos, out, detector=dot_detector, resume=True).crops == 2
    assert sorted(crops(out)) == ["a.jpg", "b.jpg"]  # and the half files are gone


def test_an_occupied_output_folder_is_refused_before_any_work(
    make_photos: MakePhotos, dot_detector: FaceDetector, out: Path
) -> None:
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match=r"the output folder is not empty.*--resume.*--overwrite"):
        align_folder(make_photos("a.png"), out, detector=dot_detector)
    assert files(out) == {"mine.txt": b"keep me"}


def test_overwrite(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    photos = make_photos("a.png", "b.png", "c.png")
    align_folder(photos, out, detector=dot_detector)
    first = crops(out)
    (photos / "a.png").write_bytes((photos / "c.png").read_bytes())
    write_image(photos / "b.png", np.zeros((50, 50, 3), np.uint8))
    (photos / "c.png").unlink()
    (out / "mine.txt").write_text("keep me")
    report = align_folder(photos, out, detector=dot_detector, overwrite=True)
    # a is made anew, the old crop of b does not stand for a photo without a face, c's is named and left alone.
    assert crops(out) == {"a.jpg": first["c.jpg"], "c.jpg": first["c.jpg"], "mine.txt": b"keep me"}
    assert report.leftovers == ("c.jpg",)


def test_hidden_files_leave_a_folder_empty(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    out.mkdir()
    (out / ".DS_Store").write_bytes(b"x")
    assert align_folder(make_photos("a.png"), out, detector=dot_detector).crops == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 128}, "the earlier run had size 112, this one has 128"),
        ({"image_format": "png"}, "the earlier run had format 'jpg', this one has 'png'"),
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


def test_nothing_to_resume(make_photos: MakePhotos, dot_detector: FaceDetector, out: Path) -> None:
    out.mkdir()
    (out / "a.jpg").write_bytes(b"whose is this?")
    with pytest.raises(UsageError, match="nothing to resume: the folder holds no report"):
        align_folder(make_photos("a.png"), out, detector=dot_detector, resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "0 workers cannot work"),
        ({"image_format": "gif"}, "crops cannot be written as 'gif'"),
        ({"overwrite": True, "resume": True}, "--overwrite and --resume exclude one another"),
        ({"size": 0}, "the crop size is 0"),
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
    for row in report.rows:
        ours = read_image(tmp_path / "crops" / row.crop).astype(float).ravel()
        theirs = read_image(realdata / "data" / "lfw" / "aligned" / row.crop).astype(float).ravel()
        assert np.corrcoef(ours, theirs)[0, 1] > 0.8
