from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.align.detectors.landmarks import Landmarks
from facedistill.align.template import template
from facedistill.data.image_files import ImageFiles
from facedistill.data.images import read_image, write_image
from facedistill.errors import UsageError
from facedistill.inspection.contents import Contents, folder_contents
from facedistill.inspection.inspect_dataset import inspect_dataset
from facedistill.inspection.scan import scan_images
from facedistill.inspection.tables import alignment_table, all_tables, contents_table, findings_table
from facedistill.preprocessing import Preprocessing


def test_a_good_folder(faces: Path) -> None:
    report = inspect_dataset(folder_contents(faces))
    assert (report.images, report.identities, report.single_identities) == (48, 8, 0)
    assert report.image_counts is not None
    assert set(report.image_counts.quantiles.values()) == {6.0}
    assert (report.common_size, report.common_size_images, report.size_counts) == ((64, 64), 48, 1)
    assert (report.formats, report.alignment, report.made_by_align) == ({"png": 48}, None, None)
    assert report.warnings == []
    assert ("identities with one image", "0") in contents_table(report)[1]
    assert [len(table[1]) > 0 for table in all_tables(report)] == [True]
    json.dumps(report.to_dict())


def test_each_trouble_has_its_warning(crops: Path, plant: Callable[..., None]) -> None:
    shutil.copy(crops / "person_000000" / "0000.png", crops / "person_000000" / "again.png")
    shutil.copy(crops / "person_000001" / "0000.png", crops / "person_000002" / "stolen.png")
    plant("stray.png", np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8))
    (crops / "person_000000" / "broken.jpg").write_bytes(b"")
    (crops / "photo.heic").write_bytes(b"x")
    (crops / "align-report.json").write_text(json.dumps({"size": 112, "template": "mine", "rows": []}))
    report = inspect_dataset(folder_contents(crops))
    expected = [
        "1 file is no whole image, such as person_000000/broken.jpg: the file is empty (zero bytes)",
        "not read are left out (1 .heic); convert",
        "1 image lies in the folder itself",
        "1 picture is filed under more than one identity, such as person_000001/0000.png and person_000002/stolen.png",
        "1 image repeats another of the same identity",
        "the images have 2 sizes, most are 64 x 64",
        "says that the crops are 112 x 112, and most are 64 x 64",
        "names the template 'mine', not 'arcface'",
    ]
    assert len(report.warnings) == len(expected)
    for warning, text in zip(report.warnings, expected, strict=True):
        assert text in warning
    assert report.made_by_align == {"size": 112, "template": "mine"}
    assert report.to_dict()["unreadable"][0]["name"] == "person_000000/broken.jpg"
    assert [row[0] for row in findings_table(report)[1]] == [
        "no whole image", "equal, across identities", "equal, one identity",
    ]  # fmt: skip


def test_people_without_pairs(crops: Path, plant: Callable[..., None]) -> None:
    for folder in sorted(crops.iterdir())[1:]:
        shutil.rmtree(folder)
    assert inspect_dataset(folder_contents(crops)).warnings == [
        "there is one identity only, so there is no pair of two people; add others"
    ]
    plant("zoe/0.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    report = inspect_dataset(folder_contents(crops))
    assert report.single_identities == 1
    assert "1 of 2 identities have one image" in report.warnings[0]


@pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
def test_a_damaged_align_report_is_passed_over(crops: Path, text: str) -> None:
    (crops / "align-report.json").write_text(text)
    assert inspect_dataset(folder_contents(crops)).made_by_align is None


@pytest.mark.parametrize(
    ("move", "warning"),
    [
        (lambda rng: np.zeros(2), None),
        (lambda rng: np.array([0.0, 8.0]), "aligned, but not to the ArcFace template: scale 1.00, turned by"),
        (lambda rng: rng.normal(0, 8, 2), "looks like unaligned photos"),
    ],
)
def test_the_alignment_is_warned_about(
    tmp_path: Path, share_detector: Callable[..., Any], faces: Path, move: Callable[..., Any], warning: str | None
) -> None:
    rng = np.random.default_rng(0)
    landmarks = {name: (template() + move(rng)) for name in scan_images(folder_contents(faces)).names}
    calls: list[tuple[int, int]] = []
    report = inspect_dataset(
        folder_contents(faces),
        detector=Scaled(share_detector(landmarks)),
        sample=30,
        progress=lambda *call: calls.append(call),
    )
    assert calls[-1] == (78, 78)
    assert report.alignment is not None
    assert report.alignment.sampled == 30
    assert [text for text in report.warnings if warning is None or warning not in text] == []
    assert len(report.warnings) == (warning is not None)
    made = replace(report, made_by_align={"size": 64, "template": "arcface"})
    assert ("landmarks say otherwise" in " ".join(made.warnings)) == (warning is not None)
    assert alignment_table(report)[1]


class Scaled:
    """The stand-in gets crops of 64 enlarged to 112, the size in which its landmarks are given."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.name, self.settings, self.looks_again = inner, inner.name, inner.settings, True

    def detect(self, photos: Any, *, lenient: bool = False) -> Any:
        assert {photo.image.shape for photo in photos} <= {(224, 224, 3)}
        return self.inner.detect(photos, lenient=lenient)


def test_workers_change_nothing(faces: Path) -> None:
    assert inspect_dataset(folder_contents(faces), workers=1) == inspect_dataset(folder_contents(faces), workers=3)


def test_numbers_out_of_range(faces: Path) -> None:
    with pytest.raises(UsageError, match="0 workers"):
        inspect_dataset(folder_contents(faces), workers=0)
    with pytest.raises(UsageError, match="a sample of -1"):
        inspect_dataset(folder_contents(faces), sample=-1)


def test_images_that_have_grown_too_large_since_they_were_scanned(
    crops: Path, share_detector: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(images: ImageFiles, index: int) -> None:
        raise MemoryError

    # Each is decoded from its bytes first, and read again for the comparison and by the detector.
    monkeypatch.setattr(ImageFiles, "image", fail)
    report = inspect_dataset(folder_contents(crops), detector=share_detector({}), sample=5)
    assert report.alignment is not None
    assert (report.images, report.alignment.seen, report.near_duplicates) == (48, 0, ())


def test_the_landmarks_of_photos_say_nothing_of_crops(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("x" + ",1" * 10)
    with pytest.raises(UsageError, match=r"'landmarks' knows the photos, not the crops\. Use mtcnn"):
        inspect_dataset(folder_contents(faces), detector=Landmarks(file=tmp_path / "l.csv"))


def test_names_are_shown_plain_and_short(crops: Path) -> None:
    evil = "person_000000/\x1b[31m\n" + "e" * 200 + ".png"
    shown = "person_000000/\\x1b[31m\\n" + "e" * 14 + "..." + "e" * 34 + ".png"
    assert len(shown) == 79
    shutil.copy(crops / "person_000001" / "0000.png", crops / evil)
    (crops / "person_000002" / "\x1b.jpg").write_bytes(b"")
    report = inspect_dataset(folder_contents(crops))
    cells = {cell for row in findings_table(report)[1] for cell in row}
    assert cells >= {shown, "person_000001/0000.png", "person_000002/\\x1b.jpg"}
    assert f"such as {shown} and person_000001/0000.png: a wrong label" in report.warnings[1]
    assert all(text.isprintable() for text in (*cells, *report.warnings))
    assert evil in report.to_dict()["duplicates"][0]["names"]
    assert report.to_dict()["unreadable"][0]["name"] == "person_000002/\x1b.jpg"


def test_plurals(faces: Path) -> None:
    report = replace(
        inspect_dataset(folder_contents(faces)), unreadable=(("a", "b"),) * 2, unchecked_pairs=1, common_size_images=1
    )
    assert "2 files are no whole images, such as a: b" in report.warnings[0]
    assert "1 pair of similar hashes was not compared" in report.warnings[1]
    assert ("size", "64 x 64 (1 image), sizes in all: 1") in contents_table(report)[1]


class RowEmbedder:
    """An image of one colour a row: the embedding is its first column's red, so it knows which person was drawn."""

    name = "made.onnx"
    preprocessing = Preprocessing(size=40)
    embedding_size = 40
    fingerprint = "0"

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return images[:, :, 0, 0].astype(np.float32)


def people(folder: Path, shown: dict[str, int]) -> Contents:
    """Write images whose embedding is the given axis, told apart by their blue."""
    for number, (name, axis) in enumerate(shown.items()):
        image = np.zeros((40, 40, 3), np.uint8)
        image[axis, :, 0] = 200
        image[:, :, 2] = np.random.default_rng(number).integers(0, 255, (40, 1))
        write_image(folder / name, image)
    return folder_contents(folder)


def test_a_model_judges_labels_and_looks_for_people_of_a_benchmark(tmp_path: Path) -> None:
    shown = {f"p{person:02d}/{image}.png": person for person in range(24) for image in range(3)}
    shown |= {"p05/1.png": 6, "q/0.png": 7, "q/1.png": 7}
    data = people(tmp_path / "data", shown)
    bench = people(tmp_path / "bench", {f"unused/{number}.png": 30 for number in range(80)} | {"z/0.png": 9})
    calls: list[tuple[int, int]] = []
    report = inspect_dataset(
        data, embedder=RowEmbedder(), batch_size=16, against=[bench], progress=lambda *call: calls.append(call)
    )
    assert calls[-1] == (2 * 74 + 2 * 81,) * 2
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    noise, (overlap,) = report.label_noise, report.overlaps
    assert noise is not None
    assert [(image.name, image.looks_like) for image in noise.wrong] == [("p05/1.png", "p06")]
    assert [(pair.first, pair.second) for pair in noise.pairs] == [("p07", "q")]
    assert overlap.people is not None
    assert [(person.name, person.other) for person in overlap.people] == [("p09", "z")]
    texts = " | ".join(report.warnings)
    for text in (
        "1 image does not look like its identity, such as p05/1.png, which looks like p06; look at them",
        "1 pair of identities looks like one person, such as p07 and q (1.00)",
        "1 person is in the benchmark",
    ):
        assert text in texts
    assert len(all_tables(report)) == 4  # all but the alignment
    found = report.to_dict()
    assert found["label_noise"]["wrong"][0]["looks_like"] == "p06"
    assert found["overlaps"][0]["people"][0]["name"] == "p09"
    json.dumps(found)


def test_too_few_people_for_a_model_are_warned_about(tmp_path: Path) -> None:
    data = people(tmp_path / "data", {f"p{person:02d}/{image}.png": person for person in range(5) for image in "ab"})
    report = inspect_dataset(data, embedder=RowEmbedder(), against=[data])
    assert report.label_noise is None
    assert "5 identities are too few for the model" in report.warnings[0]
    assert "10 images are in the benchmark" in report.warnings[1]
    assert "too few people for the model to say who is in the benchmark" in report.warnings[2]
    assert len(report.warnings) == 3


def test_a_benchmark_with_broken_images(faces: Path, crops: Path) -> None:
    (crops / "person_000000" / "0000.png").write_bytes(b"")
    (overlap,) = inspect_dataset(folder_contents(faces), against=[folder_contents(crops)]).overlaps
    assert (overlap.images, overlap.unreadable, len(overlap.pictures), overlap.people) == (47, 1, 47, None)


def test_a_version_of_a_picture_in_a_benchmark(faces: Path, tmp_path: Path) -> None:
    image = read_image(faces / "person_000003" / "0001.png")
    write_image(tmp_path / "bench" / "x" / "y.jpg", image, quality=60)
    (overlap,) = inspect_dataset(folder_contents(faces), against=[folder_contents(tmp_path / "bench")]).overlaps
    (picture,) = overlap.pictures
    assert (picture.name, picture.likeness) == ("person_000003/0001.png", "one picture in two versions")
