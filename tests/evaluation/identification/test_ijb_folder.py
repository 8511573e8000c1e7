from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facedistill.align.similarity import estimate_similarity, warp
from facedistill.align.template import template
from facedistill.data.images import read_image, write_image
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.identification.ijb_folder import read_ijb


def test_what_the_lists_say(ijb: Path) -> None:
    read = read_ijb(ijb)
    assert (read.name, len(read.names), read.names[0]) == ("IJB-C", 42, "1.png")
    assert read.templates[:7].tolist() == [10, 10, 10, 11, 11, 12, 12]
    assert read.media[:7].tolist() == [1, 1, 2, 3, 4, 5, 5]
    assert read.pairs.templates[:3].tolist() == [[10, 11], [10, 12], [10, 21]]
    assert (read.pairs.same.tolist()[:3], len(read.pairs.same)) == ([True, True, False], 72)
    assert list(read.galleries) == ["G1", "G2"]
    assert read.galleries["G2"].templates.tolist() == [40, 50, 60]
    assert read.galleries["G2"].subjects.tolist() == [4, 5, 6]
    assert read.probes is not None
    assert read.probes.templates.tolist() == sorted(10 * person + probe for person in range(1, 7) for probe in (1, 2))
    lines = (ijb / "meta/ijbc_name_5pts_score.txt").read_text().split("\n")
    fields = [float(field) for field in lines[4].split()[1:]]
    np.testing.assert_array_equal(read.landmarks[4].ravel(), fields[:10])
    assert read.detector_scores[4] == fields[10]
    pairs = ijb / "meta/ijbc_template_pair_label.txt"
    assert read.files[pairs.name] == hashlib.sha256(pairs.read_bytes()).hexdigest()
    assert len(read.files) == 6


def test_ijbb_calls_its_galleries_otherwise(tmp_path: Path, make_ijb_folder: Callable[..., Path]) -> None:
    read = read_ijb(make_ijb_folder(tmp_path / "b", "ijbb", ("S1", "S2")))
    assert (read.name, list(read.galleries)) == ("IJB-B", ["S1", "S2"])
    for number in (1, 2):
        (tmp_path / f"b/meta/ijbb_1N_gallery_S{number}.csv").unlink()
        with pytest.raises(DataError, match=r"it lacks meta/ijbb_1N_gallery_S1\.csv$" if number == 1 else "it lacks"):
            read_ijb(tmp_path / "b")


def test_images_are_aligned_when_they_are_read(ijb: Path) -> None:
    read = read_ijb(ijb)
    images = read.images(24)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    write_image(ijb / "loose_crop/8.png", noise)
    photo = read_image(ijb / "loose_crop/8.png")
    expected = warp(photo, estimate_similarity(read.landmarks[7], template(24)), 24)
    np.testing.assert_array_equal(images.image(7), expected)
    assert expected.std() > 10
    assert (len(images), images.key(7)) == (42, "8.png")
    assert images.encoded(7) == (ijb / "loose_crop/8.png").read_bytes()


def test_landmarks_that_coincide(ijb: Path) -> None:
    edit(ijb, "ijbc_name_5pts_score.txt", 3, "3.png" + " 5" * 10 + " 0.9")
    with pytest.raises(DataError, match=r"loose_crop/3\.png: the landmarks coincide"):
        read_ijb(ijb).images(24).image(2)


def test_an_older_release_without_1n(ijb: Path) -> None:
    for path in (ijb / "meta").glob("*.csv"):
        path.unlink()
    read = read_ijb(ijb)
    assert (read.galleries, read.probes) == ({}, None)


def edit(ijb: Path, name: str, number: int, line: str | None) -> None:
    """Put another line in the place of line `number`, or leave it out."""
    path = ijb / "meta" / name
    lines = path.read_text().split("\n")
    lines[number - 1 : number] = [] if line is None else [line]
    path.write_text("\n".join(lines))


def test_all_missing_files_are_named(ijb: Path) -> None:
    for name in ("meta/ijbc_name_5pts_score.txt", "meta/ijbc_template_pair_label.txt", "meta/ijbc_1N_gallery_G2.csv"):
        (ijb / name).unlink()
    (ijb / "loose_crop").rename(ijb / "crops")
    with pytest.raises(
        DataError,
        match=r"it lacks meta/ijbc_name_5pts_score\.txt, meta/ijbc_template_pair_label\.txt, "
        r"meta/ijbc_1N_gallery_G2\.csv, loose_crop/$",
    ):
        read_ijb(ijb)


def test_a_folder_that_is_none(tmp_path: Path, ijb: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder of IJB"):
        read_ijb(tmp_path / "none")
    with pytest.raises(DataError, match=r"meta: it holds no list of images and templates\. Give the folder that holds"):
        read_ijb(tmp_path)
    (ijb / "meta/ijbb_face_tid_mid.txt").write_text("1.png 1 1\n")
    with pytest.raises(DataError, match=r"it holds the lists of 2 \(ijbb, ijbc\) of images and templates"):
        read_ijb(ijb)


def test_missing_images(ijb: Path) -> None:
    for number in (1, 5, 7, 9):
        (ijb / f"loose_crop/{number}.png").unlink()
    with pytest.raises(DataError, match=r"4 of its images are missing: 1\.png, 5\.png, 7\.png, \.\.\.\. They are"):
        read_ijb(ijb)


@pytest.mark.parametrize(
    ("name", "number", "line", "message"),
    [
        ("face_tid_mid.txt", 4, "4.png 11", r"_mid\.txt:4: a name and two whole numbers, template and medium"),
        ("face_tid_mid.txt", 4, "4.png 11 3 3", r"_mid\.txt:4: a name and two whole numbers"),
        ("face_tid_mid.txt", 4, "4.png 11 three", r"_mid\.txt:4: a name and two whole numbers"),
        ("face_tid_mid.txt", 4, "4.png 11 99999999999999999999", r"_mid\.txt:4: a name and two whole numbers"),
        ("face_tid_mid.txt", 4, "", r"_mid\.txt:4: a name and two whole numbers"),
        (
            "face_tid_mid.txt",
            4,
            "5.png 11 3",
            r"_mid\.txt:4: the image is '5\.png' here and '4\.png' in ijbc_name_5pts",
        ),
        ("face_tid_mid.txt", 4, None, r"it lists 41 images and ijbc_name_5pts_score\.txt 42"),
        ("name_5pts_score.txt", 2, "2.png" + " 1" * 10, r"score\.txt:2: a name, ten finite coordinates and"),
        ("name_5pts_score.txt", 2, "2.png" + " 1" * 10 + " x", r"score\.txt:2: a name, ten"),
        ("name_5pts_score.txt", 2, "2.png" + " nan" * 10 + " 1", r"score\.txt:2: a name, ten"),
        ("name_5pts_score.txt", 2, "2.png" + " 1" * 10 + " -1", r"score\.txt:2: a name, ten"),
        ("template_pair_label.txt", 9, "10 11", r"label\.txt:9: two templates and a label, 1 for one person and 0"),
        ("template_pair_label.txt", 9, "10 11 2", r"label\.txt:9: two templates and a label"),
        ("template_pair_label.txt", 9, "10 11 1 1", r"label\.txt:9: two templates and a label"),
        ("template_pair_label.txt", 9, "10 11.0 1", r"label\.txt:9: two templates and a label"),
        ("template_pair_label.txt", 9, "10 -11 1", r"label\.txt:9: two templates and a label"),
        ("template_pair_label.txt", 9, "10 eleven 1", r"label\.txt:9: two templates and a label"),
        ("template_pair_label.txt", 9, "10 99999999999 1", r"label\.txt:9: two templates and a label"),
        ("template_pair_label.txt", 9, "\n10 77 1", r"label\.txt:10: 1 pairs name 1 templates that have no images: 77"),
        ("1N_gallery_G1.csv", 1, "TEMPLATE,SUBJECT_ID", r"G1\.csv:1: the header row lacks TEMPLATE_ID"),
        ("1N_gallery_G1.csv", 3, "10,x,img/1.png", r"G1\.csv:3: TEMPLATE_ID and SUBJECT_ID are no whole numbers"),
        ("1N_gallery_G1.csv", 3, "10", r"G1\.csv:3: TEMPLATE_ID and SUBJECT_ID are no whole numbers"),
        ("1N_gallery_G1.csv", 3, "10,2,img/1.png", r"G1\.csv:3: template 10 is of subject 2 here and of 1 above"),
        ("1N_gallery_G1.csv", 3, "88,2,img/1.png", r"G1\.csv: it names 1 templates that have no images: 88"),
    ],
)
def test_malformed_lines(ijb: Path, name: str, number: int, line: str | None, message: str) -> None:
    edit(ijb, f"ijbc_{name}", number, line)
    with pytest.raises(DataError, match=message):
        read_ijb(ijb)


@pytest.mark.parametrize("name", ["face_tid_mid.txt", "name_5pts_score.txt", "template_pair_label.txt"])
def test_empty_lists(ijb: Path, name: str) -> None:
    (ijb / "meta" / f"ijbc_{name}").write_text("")
    with pytest.raises(DataError, match=re.escape(f"ijbc_{name}: the list is empty")):
        read_ijb(ijb)


@pytest.mark.parametrize("text", ["", "TEMPLATE_ID,SUBJECT_ID\n"])
def test_empty_galleries(ijb: Path, text: str) -> None:
    (ijb / "meta/ijbc_1N_gallery_G1.csv").write_text(text)
    with pytest.raises(DataError, match="the header row lacks" if not text else "the list is empty"):
        read_ijb(ijb)


def test_lists_of_another_making(ijb: Path) -> None:
    """Tabs, line ends of Windows, a mark at the beginning, folders before the names, a lower-case header."""
    for path in (ijb / "meta").iterdir():
        text = path.read_text()
        text = text.replace("TEMPLATE_ID,SUBJECT_ID", " template_id, subject_id")
        if path.name.endswith(".txt"):
            text = text.replace(" ", "\t")
        if "tid_mid" in path.name:
            text = re.sub(r"(?m)^", "img/", text.removesuffix("\n"))
        mark = b"" if "pair" in path.name else b"\xef\xbb\xbf"
        path.write_bytes(mark + text.replace("\n", "\r\n").encode())
    assert read_ijb(ijb).pairs.templates[2].tolist() == [10, 21]
