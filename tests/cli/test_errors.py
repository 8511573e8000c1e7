"""Bad input: a message with cause, place and next step, the right exit status, and never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from facedistill_cli import errors

from .conftest import Call

CLI = [sys.executable, "-m", "facedistill_cli"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "iresnet19"], "there is no backbone called 'iresnet19'. Did you mean 'iresnet18'?"),
        (["--head", "arcfase"], "there is no head called 'arcfase'. Did you mean 'arcface'?"),
        (["--epochs", "0"], "--epochs: input should be greater than or equal to 1, and it is 0"),
        (["--lr", "-1"], "--lr: input should be greater than 0, and it is -1.0"),
        (["--optimizer", "adam"], "--optimizer: input should be 'sgd' or 'adamw', and it is 'adam'"),
        (["--device", "tpu"], "--device: input should be 'auto', 'cpu' or 'cuda'"),
        (["--pairs", "x"], "--pairs and --images go together"),
        (["--init", "missing"], "missing: there is no such model"),
    ],
)
def test_wrong_options_of_train_teacher(
    options: list[str], message: str, call: Call, faces: Path, tmp_path: Path
) -> None:
    outcome = call("train-teacher", faces, "--out", tmp_path / "run", "--model", "tinyfacenet", *options)
    assert outcome.status == (1 if "missing" in message else 2)
    assert message in outcome.err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--method", "tripet"], 2, "there is no method called 'tripet'. Did you mean 'triplet'?"),
        (["--set", "margin_min=0.7"], 2, "margin_min is 0.7 and margin_max 0.5, the lowest above the highest"),
        (["--set", "distance=l1"], 2, "input should be 'squared-l2' or 'angle', and distance is 'l1'"),
        (["--plus", "cosine:many"], 2, "cosine:many: 'many' is no weight. Write NAME or NAME:WEIGHT"),
        (["--set", "margn=1"], 2, "--set margn=1: triplet-distillation has no option 'margn'"),
        (["--method", "cross-architecture"], 2, "feature maps alone do not teach the student its embedding"),
        (["--teacher-weight", "2"], 2, "--teacher-weight: the weight of a teacher counts beside another's only"),
        (["--teacher", "none.onnx"], 1, "none.onnx: there is no such model"),
        ([], 2, "the method triplet-distillation needs a teacher. Give one with --teacher"),
    ],
)
def test_wrong_options_of_distill(
    options: list[str], status: int, message: str, call: Call, faces: Path, tmp_path: Path
) -> None:
    outcome = call("distill", faces, "--out", tmp_path / "run", "--student", "tinyfacenet", *options)
    assert outcome.status == status
    assert message in outcome.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_teacher_that_cannot_be_loaded_stops_the_run(call: Call, faces: Path, tmp_path: Path) -> None:
    for name, content in (("t.onnx", b"nonsense"), ("t.safetensors", b"nonsense"), ("t.pth", b"nonsense")):
        (tmp_path / name).write_bytes(content)
        outcome = call(
            "distill", faces, "--out", tmp_path / "run", "--teacher", tmp_path / name,
            *(("--teacher-color", "rgb") if name.endswith(".pth") else ()),
        )  # fmt: skip
        assert outcome.status == 1
        assert name in outcome.err
        assert not (tmp_path / "run").exists()


def test_data_that_is_none(call: Call, small: list[str], faces: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(faces / "person_000000" / "0000.png", flat)
    single = tmp_path / "single"
    for person in ("person_000000", "person_000001"):
        (single / person).mkdir(parents=True)
        shutil.copy(faces / person / "0000.png", single / person)
    for folder, status, message in (
        (tmp_path / "none", 2, "there is no such data set"),
        (tmp_path / "empty", 1, "the folder holds no images. Expected: one sub-folder a person, with crops"),
        (flat, 1, "nothing says who is who"),
    ):
        outcome = call("train-teacher", folder, "--out", tmp_path / "run")
        assert outcome.status == status
        assert f"{folder}: " in outcome.err
        assert message in outcome.err
    outcome = call(
        "distill", single, "--out", tmp_path / "run", "--method", "triplet", "--student", "tinyfacenet", *small
    )
    assert outcome.status == 1
    assert "no identity has two images, so there is no positive pair for a triplet" in outcome.err


def test_corrupt_and_truncated_images(call: Call, small: list[str], faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces, tmp_path / "faces")
    broken = tmp_path / "faces" / "person_000003" / "0001.png"
    broken.write_bytes(broken.read_bytes()[:300])
    command = ["train-teacher", tmp_path / "faces", "--out", tmp_path / "run", "--model", "tinyfacenet", *small]
    outcome = call(*command, "--batch-size", 48)
    assert outcome.status == 0
    assert "1 corrupt image was replaced by others: person_000003/0001.png" in outcome.err
    outcome = call(*command, "--batch-size", 48, "--overwrite", "--max-corrupt", 0)
    assert outcome.status == 1
    assert "'person_000003/0001.png': the image is truncated: its end is missing" in outcome.err


def test_export_refuses_what_it_cannot_do(call: Call, teacher_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    assert call("export", teacher_run, "-o", target).status == 0
    before = target.read_bytes()
    outcome = call("export", teacher_run, "-o", target)
    assert outcome.status == 2
    assert "the file exists. Use --overwrite, or another name" in outcome.err
    assert target.read_bytes() == before
    assert call("export", teacher_run, "-o", tmp_path / "m.pb").status == 2
    (tmp_path / "no.onnx").write_text("no network")
    outcome = call("export", tmp_path / "no.onnx", "-o", tmp_path / "n.onnx")
    assert outcome.status == 1
    assert "ONNX" in outcome.err
    assert not (tmp_path / "n.onnx").exists()
    weights = teacher_run / "last" / "backbone.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    outcome = call("export", teacher_run, "-o", tmp_path / "n.onnx")
    assert outcome.status == 1
    assert f"{weights}: the checkpoint cannot be read" in outcome.err
    assert not (tmp_path / "n.onnx").exists()


def test_a_checkpoint_takes_no_preprocessing(call: Call, teacher_run: Path, faces: Path, tmp_path: Path) -> None:
    outcome = call("embed", faces, "--model", teacher_run, "-o", tmp_path / "c.safetensors", "--std", 128)
    assert outcome.status == 2
    assert "the checkpoint carries its own preprocessing" in outcome.err


def test_unknown_commands_and_options(call: Call) -> None:
    assert call("distil").status == 2
    assert call("distill", "data", "--lrr", "1").status == 2


def test_interruption_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, errors.report():
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert "A command that has --resume goes on from what it finished; others begin again" in capsys.readouterr().err


def test_what_was_not_foreseen_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, errors.report():
        np.zeros(2)[5]
    assert stopped.value.code == 1
    printed = capsys.readouterr().err
    assert "unexpected IndexError" in printed
    assert "facedistill --debug" in printed
    assert "Traceback" not in printed


def test_markup_in_a_path_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from facedistill.errors import DataError

    with pytest.raises(SystemExit), errors.report():
        raise DataError("no such file", place="[bold]/[x]")
    assert "[bold]/[x]: no such file" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "cv2", "onnxruntime", "matplotlib", "lightning_fabric")
    code = (
        "import sys; from facedistill_cli.app import main; sys.argv = ['facedistill', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stderr.strip() == "[]"
    assert "train-teacher" in finished.stdout


def test_module_entry_and_version() -> None:
    finished = subprocess.run([*CLI, "--version"], capture_output=True, text=True, check=True)
    assert finished.stdout.startswith("facedistill 0.")


def test_listings_as_json(call: Call, tmp_path: Path) -> None:
    import json

    for command, name in (
        ("models", "mobilefacenet"),
        ("heads", "cosface"),
        ("methods", "triplet"),
        ("detectors", "mtcnn"),
    ):
        outcome = call(command, "--json", tmp_path / "l.json")
        assert outcome.status == 0
        assert name in outcome.out
        assert name in [entry["name"] for entry in json.loads((tmp_path / "l.json").read_text())]


def test_doctor(call: Call) -> None:
    outcome = call("doctor")
    assert outcome.status == 0
    assert "torch" in outcome.out


def test_debug_shows_the_traceback(faces: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "FACEDISTILL_DEBUG"}
    command = ["train-teacher", "none", "--out", "none"]
    plain = subprocess.run([*CLI, *command], capture_output=True, text=True, env=environment)
    debug = subprocess.run([*CLI, "--debug", *command], capture_output=True, text=True, env=environment)
    assert plain.returncode == 2
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
