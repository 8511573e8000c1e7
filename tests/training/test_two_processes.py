"""Two processes with half of each batch against one with all of it, and broken runs of two against unbroken ones."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facedistill.errors import UsageError

from ..two_processes import run_in_two_processes
from .agreements import REPLICATED, SHARDED, agree_on_everything, follow_teacher
from .conftest import broken_image
from .launchers import COMMAND, SMALL, TORCHRUN, environment
from .shared_batches import CASES, DATA, STEPS, gradients_of_methods, name_processes, results, train

CLOCK = {"images_per_second", "waiting_for_images"}
# Of two images of the same process, where one process alone has more of them.
OF_A_PROCESS = {"mean_similarity"}
# As `launched_options`.
STOPPED = [
    *("train-teacher", DATA, "--model", "tinyfacenet", "--embedding-size", "16", "--scale", "16", "--margin", "0.1"),
    *("--batch-size", "8", "--epochs", "10", "--partial-fc", "1", "--log-every", "7", "--lr", "0.01", *SMALL),
]

Both = tuple[list[dict[str, Any]], Path]


def do_everything(out: Path, corrupt: Path, alone: Path, stopped: Path) -> dict[str, Any]:
    """In as few processes as may be, since each takes seconds to start."""
    name_processes()
    told = {"methods": gradients_of_methods(), "runs": results(out)}
    return told | agree_on_everything(out, corrupt, alone, stopped)


def read_records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def difference(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one.double() - two.double()).abs().max())


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """A run that torchrun began and SIGTERM stopped: its folder, torchrun's exit status, and what was told."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    process = subprocess.Popen(
        [*TORCHRUN, *COMMAND, *STOPPED, "--out", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment(),
    )
    deadline = time.monotonic() + 100
    while not (run / "metrics.jsonl").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    told, _ = process.communicate(timeout=60)
    return run, process.returncode, told


@pytest.fixture(scope="module")
def both(corrupt: Path, stopped: tuple[Path, int, str], tmp_path_factory: pytest.TempPathFactory) -> Both:
    out = tmp_path_factory.mktemp("runs")
    train(out / "alone", REPLICATED, epochs=1)
    arguments = (out, corrupt, out / "alone", stopped[0])
    return run_in_two_processes(do_everything, *arguments, tmp_path=out), out


def test_methods_have_the_gradients_and_triplets_of_one_process(both: Both) -> None:
    alone = gradients_of_methods()
    for name, steps in alone.items():
        for step in range(STEPS):
            expected = steps[step]
            for found in (told["methods"][name][step] for told in both[0]):
                case = f"{name}, step {step}"
                assert difference(found["gradient"], expected["gradient"]) < 1e-6, case
                assert difference(found["loss"], expected["loss"]) < 1e-6, case
                assert len(found["mined"]) == len(expected["mined"])
                for triplets, others in zip(found["mined"], expected["mined"], strict=True):
                    assert all(torch.equal(one, two) for one, two in zip(triplets, others, strict=True)), case
                for figure, value in expected["figures"].items():
                    torch.testing.assert_close(found["figures"][figure], value)
        if "triplet" in name:
            assert all(step["figures"]["triplets"] > 5 for step in steps)


def test_two_processes_train_as_one(both: Both, tmp_path: Path, record_property: Any) -> None:
    alone = results(tmp_path)
    for number, name in enumerate(CASES):
        weights = [told["runs"][name]["weights"] for told in both[0]]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]), name
        largest = max(difference(weights[0][key], value) for key, value in alone[name]["weights"].items())
        objectives = [told["runs"][name]["objective"] for told in both[0]]
        for key, value in alone[name]["objective"].items():
            found = objectives[0][key]
            if found.shape != value.shape:
                found = torch.cat([found, objectives[1][key]])
            largest = max(largest, difference(found, value))
        record_property(name, largest)
        print(f"{name}: {largest:.1e}")
        assert largest < 1e-6, f"{name}: {largest}"
        runs = both[1] / f"2-{number}", tmp_path / f"1-{number}"
        files = [load_file(run / "last" / "backbone.safetensors") for run in runs]
        assert all(difference(files[0][key], files[1][key]) < 1e-6 for key in files[1])
        records, expected = map(read_records, runs)
        assert len(records) == len(expected) >= 2
        for one, two in zip(records, expected, strict=True):
            assert one.keys() == two.keys()
            for key in one.keys() - CLOCK - OF_A_PROCESS:
                assert one[key] == pytest.approx(two[key], rel=1e-5), f"{name}: {key}"
            assert one["gradient_norm"] > 0.5  # so that it was cut


@pytest.mark.parametrize("name", ["sharded", "replicated", "sampled"])
def test_a_stopped_run_goes_on_as_the_unbroken_one(name: str, both: Both) -> None:
    for number, told in enumerate(found[name] for found in both[0]):
        # One process was asked to stop, and both did, after the same step.
        assert f"KeyboardInterrupt: the run is saved after step {told['step']} of 8" in told["stopped"]
        parts = [] if name == "replicated" else ["state-1.pt"]
        assert told["files"] == ["backbone.safetensors", "saved.json", *parts, "state.pt"]
        assert 5 <= told["step"] <= 7
        assert (told["weights"], told["objective"], told["states"]) == (True, True, True)
        assert told["records"] == 2
        damaged = [note for note in told["notes"] if "state-1.pt is damaged; going on from step" in note]
        assert len(damaged) == (name == "sharded" and number == 0)


def test_a_run_of_another_number_of_processes_is_refused(both: Both) -> None:
    for told in both[0]:
        assert "UsageError" in told["of one"]
        assert "the run was saved by 1 process(es), and 2 would resume it. Start as many as before" in told["of one"]
    with pytest.raises(UsageError, match=r"saved by 2 process\(es\), and 1 would resume it"):
        train(both[1] / "full", SHARDED, resume="yes")


def test_patience_and_the_clock_stop_and_save_both(both: Both) -> None:
    first, second = (told["early"] for told in both[0])
    # The fourth evaluation is the second that was no better; each step before was saved, and at the end the last.
    assert first == {"saved": [1, 2, 3, 4], "left": [0.9, 0.9], "best": True}
    assert second == {"saved": [], "left": [0.9, 0.9], "best": True}


def test_a_full_disk_of_one_process_is_everybodys(both: Both) -> None:
    first, second = (told["full"] for told in both[0])
    reason = "(another process could not write)"
    assert first["notes"] == [
        f"the state after step 4 could not be saved {reason}; training goes on, and the next save tries again"
    ]
    assert f"TrainingError: {both[1] / 'full'}: the state after step 8 could not be saved {reason}" in first["message"]
    assert second["notes"] == []
    assert "the state after step 8 could not be saved (no space left on device)" in second["message"]
    assert first["step"] == second["step"] == 6
    assert not (both[1] / "full" / ".saving").exists()


def test_the_teacher_is_asked_by_both(both: Both) -> None:
    alone = follow_teacher()
    assert alone["asked"] == 62  # of 31 images and their mirror images
    assert [told["teacher"]["asked"] for told in both[0]] == [32, 30]
    for told in both[0]:
        for name in ("original", "mirrored"):
            np.testing.assert_allclose(told["teacher"][name], alone[name], atol=1e-6)
            np.testing.assert_array_equal(told["teacher"][name], both[0][0]["teacher"][name])


def test_an_epoch_shows_each_image_once(both: Both) -> None:
    for epoch in range(2):
        shown = [index for told in both[0] for batch in told["plans"][epoch] for index in batch]
        assert sorted(shown) == list(range(48))
    assert both[0][0]["plans"][0] != both[0][0]["plans"][1]


def test_a_corrupt_image_is_listed_by_who_met_it(both: Both, corrupt: Path) -> None:
    rows = []
    for file in (both[1] / "corrupt").glob("corrupt*.csv"):
        with file.open(newline="") as stream:
            rows += list(csv.reader(stream))[1:]
    key = str(broken_image(corrupt).relative_to(corrupt))
    assert {row[1] for row in rows} == {key}
    assert {told["corrupt"]["loss"] > 0 for told in both[0]} == {True}  # in bf16


def test_what_cannot_be_shared_is_refused(both: Both) -> None:
    for told in both[0]:
        assert "--batch-size: a batch of 15 cannot be shared by 2 processes evenly" in told["odd"]
        assert told["late"] is False


def test_torchrun_is_stopped_and_the_run_goes_on(both: Both, stopped: tuple[Path, int, str]) -> None:
    _, status, output = stopped
    assert status != 0
    assert output.count("stopping: the step is finished and the run saved first") == 1
    step = both[0][0]["launched"]["step"]
    assert 1 <= step < 40
    assert f"the run is saved after step {step} of 40; --resume yes goes on from there" in output
    for told in both[0]:
        assert told["launched"] == {"step": step, "states": True}
