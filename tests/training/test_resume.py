"""A run that is stopped and taken up again is the run that was never stopped."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from facedistill.data.folder import FolderDataset
from facedistill.data.open_dataset import open_dataset
from facedistill.data.synthetic import SyntheticFaces, write_folder
from facedistill.errors import ModelFileError, TrainingError, UsageError
from facedistill.training import saved, saving
from facedistill.training.interruption import Interruption
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import train_teacher

from .conftest import same_weights, teacher_options, without_final_look

STEPS = 9  # of 48 images in batches of 16, three times


class KilledError(BaseException):
    pass


def kill_at(step: int) -> Listeners:
    def progress(done: int, total: int) -> None:
        if done == step:
            raise KilledError

    return Listeners(progress=progress)


def run_killed_runs(tmp_path: Path, kills: int, part: str) -> list[dict[str, Any]]:
    write_folder(SyntheticFaces(12, 4, size=32), tmp_path / "faces")
    program = Path(__file__).with_name("killed_runs.py")
    arguments = [str(tmp_path / "faces"), str(tmp_path / "runs"), str(kills), "0", part]
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    outcomes: list[dict[str, Any]] = json.loads(done.stdout)
    return outcomes


def check_outcomes(outcomes: list[dict[str, Any]], kills: int) -> None:
    assert all(outcome["killed"] for outcome in outcomes)
    assert [outcome for outcome in outcomes if not outcome["equal"]] == []
    names = [outcome["name"] for outcome in outcomes]
    assert all(names.count(name) == kills for name in names)
    # Some were killed before anything was saved, most go on from a step in the middle.
    assert 0.5 < np.mean([outcome["saved"] for outcome in outcomes]) < 1


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("part", ["1/2", "2/2"])
def test_kill_9_at_random_steps_changes_nothing_for_any_head_or_method(part: str, kills: int, tmp_path: Path) -> None:
    outcomes = run_killed_runs(tmp_path, kills, part)
    check_outcomes(outcomes, kills)


def test_records_and_rates_go_on_as_if_nothing_had_happened(dataset: FolderDataset, tmp_path: Path) -> None:
    options = teacher_options(epochs=3, log_every=2, save_every=1)
    whole = train_teacher(dataset, RunFolder(tmp_path / "whole"), options)
    with pytest.raises(KilledError):
        train_teacher(dataset, RunFolder(tmp_path / "run"), options, listeners=kill_at(6))
    resumed = train_teacher(dataset, RunFolder(tmp_path / "run", resume="yes"), options)
    assert [record["step"] for record in resumed] == [2, 3, 4, 6, 8, 9]
    assert [record["epoch"] for record in resumed] == [1, 1, 2, 2, 3, 3]
    clock = {"images_per_second", "waiting_for_images"}
    for record, expected in zip(resumed, whole, strict=True):
        assert {k: v for k, v in record.items() if k not in clock} == {
            k: v for k, v in expected.items() if k not in clock
        }
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == resumed


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        # Of 9 steps, 3 of them warm-up, the highest rate being 0.1; by hand, or by the formula written out here.
        ({"schedule": "cosine"}, [0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]),
        ({"schedule": "poly", "power": 2}, [0.1 * (1 - step / 6) ** 2 for step in range(6)]),
        ({"schedule": "step", "milestones": (2, 2.7), "gamma": 0.5}, [0.1, 0.1, 0.1, 0.05, 0.05, 0.025]),
        ({"schedule": "constant"}, [0.1] * 6),
    ],
)
def test_each_schedule_goes_on_along_its_curve(
    changes: dict[str, Any], rates: list[float], dataset: FolderDataset, tmp_path: Path
) -> None:
    options = teacher_options(epochs=3, warmup_epochs=1, log_every=1, save_every=1, **changes)
    with pytest.raises(KilledError):
        train_teacher(dataset, RunFolder(tmp_path / "run"), options, listeners=kill_at(5))
    records = train_teacher(dataset, RunFolder(tmp_path / "run", resume="yes"), options)
    assert [record["lr"] for record in records] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, *rates])


def test_a_finished_run_is_resumed_to_no_effect(dataset: FolderDataset, tmp_path: Path) -> None:
    records = train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options())
    before = {path: path.read_bytes() for path in (tmp_path / "run" / "last").iterdir()}
    again = train_teacher(dataset, RunFolder(tmp_path / "run", resume="auto"), teacher_options())
    assert again == records
    assert {path: path.read_bytes() for path in (tmp_path / "run" / "last").iterdir()} == before


def test_the_best_and_the_patience_are_remembered(dataset: FolderDataset, tmp_path: Path) -> None:
    scores = {3: 0.6, 6: 0.9, 9: 0.8, 12: 0.7, 15: 0.85}
    notes: list[str] = []

    def listeners(stop: int) -> Listeners:
        steps = 0

        def progress(done: int, total: int) -> None:
            nonlocal steps
            steps = done
            if done == stop:
                raise KilledError

        return Listeners(follow=lambda embedder: {"accuracy": scores[steps]}, progress=progress, note=notes.append)

    options = teacher_options(epochs=5, patience=3, save_every=1)
    with pytest.raises(KilledError):
        train_teacher(dataset, RunFolder(tmp_path / "run"), options, listeners=listeners(11))
    records = train_teacher(dataset, RunFolder(tmp_path / "run", resume="yes"), options, listeners=listeners(0))
    assert [record["accuracy"] for record in records] == [0.6, 0.9, 0.8, 0.7, 0.85]
    assert "step 15: the last 3 evaluations were no better than the best, so training ends here" in notes[-1]
    assert len(without_final_look(notes)) == 1


def test_evaluation_every_so_many_steps(dataset: FolderDataset, tmp_path: Path) -> None:
    asked: list[int] = []

    def follow(embedder: Any) -> dict[str, float]:
        asked.append(1)
        return {"accuracy": 0.5}

    options = teacher_options(epochs=3, eval_every=4)
    records = train_teacher(dataset, RunFolder(tmp_path / "run"), options, listeners=Listeners(follow=follow))
    assert [record["step"] for record in records if "accuracy" in record] == [4, 8, 9]  # and at the end
    assert len(asked) == 3


def test_the_last_few_states_are_kept(dataset: FolderDataset, tmp_path: Path) -> None:
    train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(epochs=3, save_every=2, keep=3))
    run = tmp_path / "run"
    assert sorted(path.name for path in (run / "earlier").iterdir()) == ["step-000000006", "step-000000008"]
    assert saved.newest_state(run).step == STEPS
    train_teacher(dataset, RunFolder(tmp_path / "one"), teacher_options(epochs=3, save_every=2, keep=1))
    assert not (tmp_path / "one" / "earlier").exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no manifest"])
def test_a_damaged_state_falls_back_to_the_one_before(damage: str, dataset: FolderDataset, tmp_path: Path) -> None:
    options = teacher_options(epochs=3, save_every=2)
    train_teacher(dataset, RunFolder(tmp_path / "whole"), options)
    run = tmp_path / "run"
    with pytest.raises(KilledError):
        train_teacher(dataset, RunFolder(run), options, listeners=kill_at(7))
    file = run / "last" / "state.pt"
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        file.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "missing":
        file.unlink()
    else:
        (run / "last" / "saved.json").write_text("{")
    notes: list[str] = []
    train_teacher(dataset, RunFolder(run, resume="yes"), options, listeners=Listeners(note=notes.append))
    reason = {"missing": "is missing", "no manifest": "cannot be read"}.get(damage, "is damaged")
    assert len(without_final_look(notes)) == 1
    assert f"{reason}; going on from step 4 instead ({run / 'earlier' / 'step-000000004'})" in notes[0]
    assert same_weights(tmp_path / "whole", run)


def test_nothing_whole_is_left(dataset: FolderDataset, tmp_path: Path) -> None:
    options = teacher_options(keep=1)
    train_teacher(dataset, RunFolder(tmp_path / "run"), options)
    (tmp_path / "run" / "last" / "backbone.safetensors").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"no saved state is whole \(.*backbone.safetensors is damaged\)"):
        train_teacher(dataset, RunFolder(tmp_path / "run", resume="yes"), options)


def test_an_interruption_between_two_renamings_loses_nothing(dataset: FolderDataset, tmp_path: Path) -> None:
    options = teacher_options(epochs=3, save_every=2)
    train_teacher(dataset, RunFolder(tmp_path / "whole"), options)
    run = tmp_path / "run"
    with pytest.raises(KilledError):
        train_teacher(dataset, RunFolder(run), options, listeners=kill_at(7))
    (run / "last").rename(run / ".saving")  # the last was put aside, and the new one not yet in its place
    assert saved.newest_state(run).step == 6
    (run / ".saving" / "saved.json").unlink()  # or it was not even written to its end
    assert saved.newest_state(run).step == 4
    train_teacher(dataset, RunFolder(run, resume="yes"), options)
    assert same_weights(tmp_path / "whole", run)


def test_a_full_disk_leaves_the_states_before_and_training_goes_on(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = teacher_options(epochs=3, save_every=2)
    train_teacher(dataset, RunFolder(tmp_path / "whole"), options)
    real, calls = torch.save, 0

    def full(state: object, file: Path) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 5):
            file.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        real(state, file)

    monkeypatch.setattr(saved.torch, "save", full)
    notes: list[str] = []
    listeners = Listeners(note=notes.append)
    run = tmp_path / "run"
    with pytest.raises(TrainingError) as error:  # the last save of all fails too
        train_teacher(dataset, RunFolder(run), options, listeners=listeners)
    assert without_final_look(notes) == [
        "the state after step 4 could not be saved (no space left on device); training goes on, and the next save "
        "tries again"
    ]
    assert "the state after step 9 could not be saved (no space left on device)" in str(error.value)
    assert f"The state before it is in {run / 'last'}. Free some space, and go on with --resume yes" in str(error.value)
    assert not (run / ".saving").exists()
    assert saved.newest_state(run).step == 8
    train_teacher(dataset, RunFolder(run, resume="yes"), options)
    assert same_weights(tmp_path / "whole", run)


FILLING = """
import resource, signal, sys
from pathlib import Path
from facedistill.data.folder import FolderDataset
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import TeacherOptions, train_teacher
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
options = TeacherOptions(model="tinyfacenet", input_size=64, width=0.5, embedding_size=16, batch_size=16, epochs=1,
                         warmup_epochs=0, device="cpu")
train_teacher(FolderDataset(Path(sys.argv[1])), RunFolder(Path(sys.argv[2])), options)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be limited there")
def test_a_file_that_the_system_refuses_to_write_to_its_end(faces: Path, tmp_path: Path) -> None:
    """The message of torch's own writer, which is not an OSError, is understood as well."""
    for limit in (20_000, 60_000):  # less than the state; less than the weights
        done = subprocess.run(
            [sys.executable, "-c", FILLING, str(faces), str(tmp_path / str(limit)), str(limit)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "TrainingError" in done.stderr, done.stderr
        assert "the state after step 3 could not be saved" in done.stderr
        assert not (tmp_path / str(limit) / ".saving").exists()


def test_another_data_set_is_refused(dataset: FolderDataset, tmp_path: Path) -> None:
    one, other = (open_dataset(f"made-up:6x4,size=64,seed={seed}") for seed in (1, 2))
    train_teacher(one, RunFolder(tmp_path / "run"), teacher_options(batch_size=8))
    again = RunFolder(tmp_path / "run", resume="yes")
    with pytest.raises(UsageError, match=r"started with data 24 images \(\w{12}\) and is resumed with 24 images"):
        train_teacher(other, again, teacher_options(batch_size=8))


def test_what_changes_nothing_may_change(dataset: FolderDataset, tmp_path: Path) -> None:
    options = teacher_options(epochs=3, save_every=2)
    train_teacher(dataset, RunFolder(tmp_path / "whole"), options)
    with pytest.raises(KilledError):
        train_teacher(dataset, RunFolder(tmp_path / "run"), options, listeners=kill_at(5))
    other = teacher_options(epochs=3, save_every=1, keep=4, workers=0, log_every=7, save_minutes=0.5)
    train_teacher(dataset, RunFolder(tmp_path / "run", resume="yes"), other)
    assert same_weights(tmp_path / "whole", tmp_path / "run")


def command(faces: Path, run: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "facedistill_cli", "train-teacher", str(faces), "--out", str(run)),
        *("--model", "tinyfacenet", "--width", "0.5", "--embedding-size", "16", "--input-size", "64"),
        *("--batch-size", "16", "--epochs", "400", "--log-every", "5", "--device", "cpu"),
    ]


def start(faces: Path, run: Path, *more: str) -> subprocess.Popen[str]:
    """A run in a process of its own, a few steps on its way."""
    process = subprocess.Popen(
        [*command(faces, run), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(600):
        if (run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size > 500:
            return process
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError("the run does not begin")


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "0"), (signal.SIGTERM, "0"), (signal.SIGTERM, "1")])
def test_a_signal_finishes_the_step_and_saves(number: int, workers: str, faces: Path, tmp_path: Path) -> None:
    process = start(faces, tmp_path / "run", "--workers", workers)
    os.killpg(process.pid, number)  # as a terminal or a scheduler does, to all processes of the run
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopping: the step is finished and the run saved first" in err
    step = saved.newest_state(tmp_path / "run").step
    assert f"interrupted: the run is saved after step {step} of 1200; --resume yes goes on from there" in err
    assert "Traceback" not in err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["epochs"] == 400


def test_the_second_request_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []

    def leave(status: int) -> None:
        left.append(status)
        raise SystemExit

    monkeypatch.setattr(os, "_exit", leave)
    told: list[str] = []
    interruption = Interruption(told.append)
    interruption.handle(signal.SIGINT, None)
    interruption.handle(signal.SIGTERM, None)  # in the same moment, as launchers send both
    assert interruption.asked
    assert (len(told), left) == (1, [])
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    with pytest.raises(SystemExit):
        interruption.handle(signal.SIGTERM, None)
    assert (len(told), left) == (1, [130])


def test_the_configuration_of_a_run_repeats_it(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder, by the configuration alone."""
    first = [
        *(sys.executable, "-m", "facedistill_cli", "train-teacher", "faces", "--out", str(tmp_path / "a")),
        *("--model", "tinyfacenet", "--width", "0.5", "--input-size", "64", "--batch-size", "16", "--epochs", "2"),
        *("--schedule", "step", "--milestones", "1,1.5", "--no-mirror", "--ema", "0.9", "--seed", "5", "--quiet"),
    ]
    (tmp_path / "faces").symlink_to(faces)
    subprocess.run(first, check=True, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = [
        *(sys.executable, "-m", "facedistill_cli", "train-teacher", "--config", str(tmp_path / "a" / "config.yaml")),
        *("--out", "b", "--quiet"),
    ]
    subprocess.run(again, check=True, cwd=elsewhere)
    assert same_weights(tmp_path / "a", elsewhere / "b")
    one, two = (yaml.safe_load((run / "config.yaml").read_text()) for run in (tmp_path / "a", elsewhere / "b"))
    assert one == two


@pytest.mark.cuda
def test_resuming_on_cuda(dataset: FolderDataset, tmp_path: Path) -> None:
    options = teacher_options(device="cuda", epochs=3, precision="16", save_every=1)
    with pytest.raises(KilledError):
        train_teacher(dataset, RunFolder(tmp_path / "run"), options, listeners=kill_at(5))
    state = torch.load(tmp_path / "run" / "last" / "state.pt", weights_only=True)
    assert state["scaler"]["scale"] > 0
    records = train_teacher(dataset, RunFolder(tmp_path / "run", resume="yes"), options)
    assert [record["epoch"] for record in records] == [1, 2, 3]


def test_curves_are_not_drawn_at_every_save(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(saving, "plot_curves", lambda records, path: drawn.append(len(records)))
    train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(epochs=3, save_every=1))
    assert drawn == [0 + 1, 3] or drawn[-1] == 3
    assert len(drawn) <= 2
