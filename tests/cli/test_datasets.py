"""Training, embedding and evaluating on data sets of every kind, through the commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from facedistill.checkpoint import load_checkpoint
from facedistill.embedders.cache import load_cache

from .conftest import Call

TINY = ["--model", "tinyfacenet", "--embedding-size", 16]


def weights(run: Path) -> list[torch.Tensor]:
    checkpoint = load_checkpoint(run / "last" / "backbone.safetensors")
    return list(checkpoint.backbone.state_dict().values())


def test_every_format_gives_the_same_student(
    call: Call, small: list[str], teacher_run: Path, faces: Path, tmp_path: Path
) -> None:
    rec, shards = tmp_path / "faces.rec", tmp_path / "shards"
    for target in ((rec,), (shards, "--to", "shards")):
        outcome = call("convert", faces, *target)
        assert outcome.status == 0, outcome.err
    assert call("embed", faces, "--model", teacher_run, "-o", tmp_path / "c.safetensors").status == 0
    students = []
    for data in (faces, rec, shards):
        run = tmp_path / f"student-{data.stem}"
        # The cache of the folder serves the others too: their images have the same keys.
        outcome = call(
            "distill", data, "--teacher", tmp_path / "c.safetensors", "--out", run, "--student", "tinyfacenet",
            "--width", 0.5, "--lookalikes", 2, "--augment-jpeg", 0.5, *small,
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
        students.append(weights(run))
    for other in students[1:]:
        assert all(torch.equal(one, two) for one, two in zip(students[0], other, strict=True))


def test_several_roots_and_exclusions(call: Call, small: list[str], faces: Path, tmp_path: Path) -> None:
    listed = tmp_path / "exclude.csv"
    listed.write_text("kind,name,reason\nidentity,faces/person_000001,leak\nimage,more/person_000000/0001.png,blur\n")
    shutil.copytree(faces, tmp_path / "faces")
    for person in ("person_000000", "person_000002"):
        shutil.copytree(faces / person, tmp_path / "more" / person)
    outcome = call(
        "train-teacher", tmp_path / "faces", tmp_path / "more", "--out", tmp_path / "run", "--exclude", listed,
        *TINY, *small,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "53 images of 9 people" in outcome.out
    assert "7 of 60 images are excluded" in outcome.err


def test_made_up_faces_need_no_files(call: Call, small: list[str], tmp_path: Path) -> None:
    outcome = call("train-teacher", "made-up:4x6,size=64", "--out", tmp_path / "run", *TINY, *small)
    assert outcome.status == 0, outcome.err
    assert "24 images of 4 people in made-up:4x6,size=64" in outcome.out


def test_a_verification_set_is_nothing_to_train_on(call: Call, small: list[str], faces: Path, tmp_path: Path) -> None:
    pairs, bin_file = tmp_path / "pairs.csv", tmp_path / "faces.bin"
    assert call("make-pairs", faces, "--out", pairs, "--pairs", 8, "--folds", 2).status == 0
    assert call("convert", faces, bin_file, "--pairs", pairs).status == 0
    listed = tmp_path / "exclude.csv"
    listed.write_text("kind,name,reason\nimage,faces.bin[3],\n")
    for data in ([bin_file], [bin_file, "--exclude", listed], [bin_file, faces]):
        outcome = call("train-teacher", *data, "--out", tmp_path / "run", *TINY, *small)
        assert outcome.status == 1
        assert "one person has many labels" in outcome.err
        assert not (tmp_path / "run").exists()


def test_embedding_goes_on_over_a_corrupt_image(
    call: Call, small: list[str], teacher_run: Path, faces: Path, tmp_path: Path
) -> None:
    shutil.copytree(faces, tmp_path / "faces")
    (tmp_path / "faces" / "person_000003" / "0002.png").write_bytes(b"")
    cache = tmp_path / "c.safetensors"
    command = ["embed", tmp_path / "faces", "--model", teacher_run, "-o", cache, "--json", tmp_path / "e.json"]
    outcome = call(*command)
    assert outcome.status == 0, outcome.err
    assert "1 corrupt image was left without an embedding: person_000003/0002.png" in outcome.err
    assert json.loads((tmp_path / "e.json").read_text())["corrupt"] == 1
    assert int((~torch.from_numpy(load_cache(cache).original).isfinite()).all(dim=1).sum()) == 1
    distil = [
        "distill", tmp_path / "faces", "--teacher", cache, "--out", tmp_path / "run", "--student", "tinyfacenet",
        *small,
    ]  # fmt: skip
    outcome = call(*distil)
    assert outcome.status == 0, outcome.err
    assert "1 corrupt image was replaced by others" in outcome.err
    # The file is mended afterwards: the cache has nothing to teach of it.
    shutil.copy(faces / "person_000003" / "0002.png", tmp_path / "faces" / "person_000003")
    outcome = call(*distil, "--overwrite")
    assert outcome.status == 1
    assert "the teacher has no embedding of 'person_000003/0002.png': it was corrupt then" in outcome.err
    (tmp_path / "faces" / "person_000003" / "0002.png").write_bytes(b"")
    outcome = call(*command, "--overwrite", "--max-corrupt", 0)
    assert outcome.status == 1
    assert "1 image is corrupt, and --max-corrupt 0 allows 0 of 48" in outcome.err


def test_lookalikes_where_they_have_no_use(
    call: Call, small: list[str], teacher_run: Path, faces: Path, tmp_path: Path
) -> None:
    command = ["distill", faces, "--out", tmp_path / "run", "--student", "tinyfacenet", "--lookalikes", 4, *small]
    outcome = call(*command, "--teacher", teacher_run, "--method", "cosine")
    assert outcome.status == 2
    assert "no use for the method cosine, whose batches are shuffled" in outcome.err
    outcome = call(*command, "--method", "triplet")
    assert outcome.status == 2
    assert "by a teacher's eyes, and there is none. Give one with --teacher" in outcome.err
    outcome = call(*command, "--teacher", teacher_run, "--method", "triplet")
    assert outcome.status == 0, outcome.err
    assert "of this one only the embedding size and the choice of batches is used" in outcome.err


def test_wrong_augmentations(call: Call, small: list[str], faces: Path, tmp_path: Path) -> None:
    outcome = call("train-teacher", faces, "--out", tmp_path / "run", "--augment-crop", 1.5, *TINY, *small)
    assert outcome.status == 2
    assert "--augment-crop: input should be less than or equal to 1, and it is 1.5" in outcome.err
