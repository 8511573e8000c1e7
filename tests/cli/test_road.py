"""The commands one after the other, as a user walks them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import yaml

from .conftest import Call


def write_pairs(faces: Path, path: Path) -> Path:
    people = sorted(folder.name for folder in faces.iterdir())
    same = [(f"{p}/000{i}.png", f"{p}/000{i + 1}.png", 1) for p in people for i in range(5)]
    other = [(f"{p}/000{i}.png", f"{q}/000{i}.png", 0) for p, q in itertools.pairwise(people) for i in range(5)]
    path.write_text("path_a,path_b,same\n" + "".join(f"{a},{b},{s}\n" for a, b, s in same + other))
    return path


def test_teacher_student_export_and_evaluation(
    call: Call, small: list[str], teacher_run: Path, faces: Path, tmp_path: Path
) -> None:
    pairs = write_pairs(faces, tmp_path / "pairs.csv")
    student = tmp_path / "student"
    outcome = call(
        "distill", faces, "--teacher", teacher_run, "--out", student, "--student", "tinyfacenet", "--width", 0.5,
        "--method", "triplet-distillation", "--pairs", pairs, "--images", faces, "--json", tmp_path / "d.json", *small,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "triplets" in outcome.out
    assert "benchmark accuracy" in outcome.out
    assert "8 people of the benchmark are among those trained on, such as person_000000" in outcome.err
    epochs = json.loads((tmp_path / "d.json").read_text())["records"]
    assert epochs[0]["accuracy"] == pytest.approx(json.loads((student / "metrics.jsonl").read_text())["accuracy"])

    outcome = call("export", student, "-o", tmp_path / "s.onnx", "--json", tmp_path / "e.json")
    assert outcome.status == 0, outcome.err
    assert json.loads((tmp_path / "e.json").read_text())["parity"][0]["largest_difference"] <= 1e-5

    results = []
    for model in (student, student / "last" / "backbone.safetensors", tmp_path / "s.onnx"):
        outcome = call(
            "eval", model, "--pairs", pairs, "--images", faces, "--json", tmp_path / "r.json", "--device", "cpu"
        )
        assert outcome.status == 0, outcome.err
        assert "carries no preprocessing" not in outcome.err
        results.append(json.loads((tmp_path / "r.json").read_text())["benchmarks"][0])
    assert results[0]["pairs"] == 75
    assert results[0]["accuracy"] == results[1]["accuracy"] == results[2]["accuracy"] == epochs[0]["accuracy"]
    assert results[0]["tar_at_far"]["1e-4"] is None


def test_a_cache_and_an_onnx_file_teach_too(
    call: Call, small: list[str], teacher_run: Path, faces: Path, tmp_path: Path
) -> None:
    assert call("export", teacher_run, "-o", tmp_path / "t.onnx").status == 0
    assert call("embed", faces, "--model", tmp_path / "t.onnx", "-o", tmp_path / "cache").status == 0
    records = []
    for teacher in ("t.onnx", "cache"):
        run = tmp_path / f"from-{teacher}"
        outcome = call(
            "distill", faces, "--teacher", tmp_path / teacher, "--out", run, "--student", "tinyfacenet",
            "--method", "cosine", *small,
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
        records.append(json.loads((run / "metrics.jsonl").read_text().splitlines()[-1]))
    # The cache is in half precision.
    assert records[0]["cosine"] == pytest.approx(records[1]["cosine"], abs=1e-3)


def test_init_resume_and_overwrite(
    call: Call, small: list[str], teacher_run: Path, faces: Path, tmp_path: Path
) -> None:
    command = ["distill", faces, "--teacher", teacher_run, "--out", tmp_path / "s", "--init", teacher_run, *small]
    assert call(*command).status == 0
    again = call(*command)
    assert again.status == 2
    assert "the output folder is not empty. Use --resume auto, --overwrite or another folder" in again.err
    resumed = call(*command, "--resume", "yes")
    assert resumed.status == 0
    changed = call(*command, "--resume", "yes", "--lr", 0.5)
    assert changed.status == 2
    assert "started with --lr 0.1 and is resumed with 0.5" in changed.err
    assert call(*command, "--overwrite", "--lr", 0.5).status == 0
    assert yaml.safe_load((tmp_path / "s" / "config.yaml").read_text())["lr"] == 0.5
    conflict = call(*command, "--overwrite", "--width", 0.25)
    assert conflict.status == 2
    assert "the width is 1.0 in the initial checkpoint and 0.25 was asked for" in conflict.err


def test_identities_limit_the_training(call: Call, small: list[str], faces: Path, tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("3\nperson_000001\t6\nperson_000004\t6\nperson_999999\t1\n")
    outcome = call(
        "train-teacher", faces, "--out", tmp_path / "t", "--model", "tinyfacenet",
        "--identities", tmp_path / "people.txt", *small,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "12 images of 2 people" in outcome.out
    assert "1 of the 3 listed people have no images" in outcome.out


def test_a_configuration_file_and_flags_over_it(call: Call, faces: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: tinyfacenet\nepochs: 2\nbatch-size: 16\ninput_size: 64\nwarmup_epochs: 0\nseed: 4\ndevice: cpu\n"
    )
    outcome = call("train-teacher", faces, "--out", tmp_path / "t", "--config", config, "--epochs", 1)
    assert outcome.status == 0, outcome.err
    options = yaml.safe_load((tmp_path / "t" / "config.yaml").read_text())
    assert (options["epochs"], options["batch_size"], options["seed"]) == (1, 16, 4)

    config.write_text("epoch: 3\n")
    outcome = call("train-teacher", faces, "--out", tmp_path / "u", "--config", config)
    assert outcome.status == 2
    assert "there is no option of train-teacher called 'epoch'. Did you mean 'epochs'?" in outcome.err
    config.write_text("- 1\n")
    assert "has to be a mapping" in call("train-teacher", faces, "--out", tmp_path / "u", "--config", config).err
    assert "cannot be read" in call("train-teacher", faces, "--out", tmp_path / "u", "--config", tmp_path / "no").err


def test_quiet_prints_nothing(call: Call, small: list[str], faces: Path, tmp_path: Path) -> None:
    outcome = call("train-teacher", faces, "--out", tmp_path / "t", "--model", "tinyfacenet", "--quiet", *small)
    assert outcome.status == 0
    assert outcome.out == ""
