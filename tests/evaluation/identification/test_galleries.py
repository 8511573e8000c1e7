from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facedistill.data.folder import FolderDataset
from facedistill.embedders.cache import make_cache
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.identification import galleries as module
from facedistill.evaluation.identification.galleries import evaluate_identification
from facedistill.evaluation.identification.open_gallery import open_distractors, open_people


@pytest.fixture
def split(photos: Path, tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    """Ann, Bo_B and Cy with two photos each in a gallery; probes are their other photos and those of Di."""
    for person in photos.iterdir():
        for number, photo in enumerate(sorted(person.iterdir())):
            part = "probes" if number >= 2 or person.name == "Di" else "gallery"
            (tmp_path / part / person.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, tmp_path / part / person.name)
    deep = tmp_path / "distractors" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "1.png").write_bytes(encoded((255, 100, 97)))  # to the byte Ann's third photo, which is a probe
    (deep.parent.parent / "2.png").write_bytes(encoded((10, 10, 10)))
    return tmp_path


def test_a_gallery_and_strangers(split: Path, color_embedder: type[Any]) -> None:
    embedder = color_embedder()
    seen: list[tuple[int, int]] = []
    result = evaluate_identification(
        embedder, open_people(split / "gallery"), open_people(split / "probes"), name="made", fpirs=(0.25, 0.1),
        progress=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    (found,) = result.galleries
    assert (found.entries, found.people, found.mated, found.non_mated) == (6, 3, 6, 4)
    assert result.rank_rates == {1: 1.0, 5: 1.0, 10: 1.0}
    assert result.tpir_at_fpir == {"2.5e-1": 1.0, "1e-1": None}
    assert result.notes == ("1 of the probes' people is not in the gallery (Di): 4 probes are non-mated",)
    assert seen[-1] == (16, 16)
    assert seen == sorted(seen)
    assert result.fingerprints == {
        "probes": FolderDataset(split / "probes").fingerprint,
        "gallery": FolderDataset(split / "gallery").fingerprint,
    }
    assert result.warnings == ()
    columns, rows = result.table()
    assert columns[:5] == ["1:N", "gallery", "entries", "mated", "non-mated"]
    assert rows == [["made", "one entry an image", "6", "6", "4", "100.00", "100.00", "100.00", "100.00", "-"]]


@pytest.mark.parametrize("at_once", [1, 3, 1 << 16])
def test_distractors_are_nobody_even_where_they_look_like_a_probe(
    split: Path, color_embedder: type[Any], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IMAGES_AT_ONCE", at_once)
    result = evaluate_identification(
        color_embedder(), open_people(split / "gallery"), open_people(split / "probes"),
        open_distractors(split / "distractors"), name="made", ranks=(1, 2),
    )  # fmt: skip
    (found,) = result.galleries
    assert (found.entries, found.people, found.mated, found.non_mated) == (8, 3, 6, 4)
    assert result.rank_rates[1] is not None
    assert result.rank_rates[1] <= 5 / 6, "one probe of Ann is a distractor, too, which stands before her"
    assert result.rank_rates[2] == 1.0
    assert result.notes[1] == "2 entries are distractors"
    assert result.warnings == (
        "1 probe is an entry of the gallery to the byte (Ann/Ann_0003.png = a/b/1.png): their similarity is 1 "
        "whatever the model is",
    )


def test_one_entry_a_person(split: Path, color_embedder: type[Any]) -> None:
    result = evaluate_identification(
        color_embedder(), open_people(split / "gallery"), open_people(split / "probes"),
        open_distractors(split / "distractors"), name="made", one_per_person=True,
    )  # fmt: skip
    (found,) = result.galleries
    assert (found.name, found.entries, found.people, found.mated) == ("one entry a person", 5, 3, 6)
    assert result.rank_rates[5] == 1.0


def test_people_that_are_not_the_same(split: Path, color_embedder: type[Any]) -> None:
    (split / "gallery").rename(split / "Ann")
    with pytest.raises(
        DataError,
        match=r"made: none of the 4 people of the probes is in the gallery\. People are matched by name; the probes "
        r"have 'Ann', \.\.\., the gallery 'Ann/Ann', \.\.\.",
    ):
        evaluate_identification(
            color_embedder(), FolderDataset(renamed(split)), open_people(split / "probes"), name="made"
        )


def renamed(split: Path) -> Path:
    """The gallery one folder deeper, where its people have other names."""
    (split / "deeper").mkdir()
    (split / "Ann").rename(split / "deeper" / "Ann")
    return split / "deeper"


def test_a_cache_is_a_model(split: Path, color_embedder: type[Any]) -> None:
    """All three data sets in one cache, found by their keys."""
    embedder = color_embedder()
    gallery, probes = open_people(split / "gallery"), open_people(split / "probes")
    shutil.copytree(split / "gallery", split / "all")
    shutil.copytree(split / "probes", split / "all", dirs_exist_ok=True)
    everything = FolderDataset(split / "all")
    cache = make_cache(embedder, everything, embed_dataset(embedder, everything))
    of_cache = evaluate_identification(cache, gallery, probes, name="made", fpirs=(0.25,)).to_dict()
    of_model = evaluate_identification(embedder, gallery, probes, name="made", fpirs=(0.25,)).to_dict()
    assert of_cache == of_model


@pytest.fixture
def tinyface(photos: Path, tmp_path: Path) -> Path:
    """The photos as TinyFace has them: in one folder, person first."""
    folder = tmp_path / "Gallery_Match"
    folder.mkdir()
    for number, person in enumerate(sorted(photos.iterdir()), 1):
        for photo in person.iterdir():
            shutil.copy(photo, folder / f"{number}_{int(photo.stem[-4:])}.png")
    return folder


def test_names_that_tell_the_person(tinyface: Path, photos: Path, tmp_path: Path) -> None:
    found = open_people(tinyface)
    assert found.identities == ["1", "2", "3", "4"]
    assert {found.key(index).partition("_")[0] for index in range(16) if found.labels[index] == 2} == {"3"}
    flat = tmp_path / "flat"
    flat.mkdir()
    for photo in photos.rglob("*.png"):
        shutil.copy(photo, flat)
    assert open_people(flat).identities == ["Ann", "Bo_B", "Cy", "Di"]
    (photos / "Ann" / "Ann_0001.png").rename(photos / "Ann" / "77_1.png")
    assert open_people(photos).identities == ["Ann", "Bo_B", "Cy", "Di"], "where there are folders, they tell"
    (tinyface / "1_1.png").rename(tinyface / "1_1_frame20.png")
    assert open_people(tinyface).identities == ["1", "2", "3", "4"]


def test_names_that_tell_nobody(tinyface: Path) -> None:
    (tinyface / "1_1.png").rename(tinyface / "face.png")
    (tinyface / "2_1.png").rename(tinyface / "_7.png")
    with pytest.raises(DataError, match=r"the names of 2 of its 16 images tell no person: _7\.png, face\.png\. Call"):
        open_people(tinyface)


def test_distractors_of_any_kind(tinyface: Path, photos: Path, tmp_path: Path) -> None:
    assert len(open_distractors(tinyface)) == 16
    assert open_distractors(tinyface).identities == ["distractors"]
    assert len(open_distractors(photos)) == 16
    assert len(open_distractors(Path("made-up:2x3,size=32"))) == 6
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder holds no images"):
        open_distractors(tmp_path / "empty")
    for open_one in (open_people, open_distractors):
        with pytest.raises(UsageError, match="there is no such data set"):
            open_one(tmp_path / "none")
