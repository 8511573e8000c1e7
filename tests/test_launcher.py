"""The variables of torchrun and of SLURM, as they are in a task, a job script, a shell, and on nodes that differ."""

from __future__ import annotations

import pytest

from facedistill.launcher import Launched, launched, tasks_of_node

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "GROUP_RANK": "1",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
}
ALLOCATION = {"SLURM_JOB_ID": "1234567", "SLURM_JOB_NAME": "train.sh", "SLURM_NTASKS": "6", "SLURM_NNODES": "2"}
TASK = {**ALLOCATION, "SLURM_PROCID": "4", "SLURM_LOCALID": "0", "SLURM_NODEID": "1", "SLURM_STEP_ID": "0"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*TORCHRUN, *TASK, "SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


CASES = {
    "nothing": ({}, Launched()),
    "torchrun": (TORCHRUN, Launched(5, 8, 1, 4, "torchrun")),
    "torchrun inside a SLURM task": ({**TASK, **TORCHRUN}, Launched(5, 8, 1, 4, "torchrun")),
    "torchrun of one": (
        {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
        Launched(by="torchrun"),
    ),
    "another launcher": ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, Launched(1, 2, 1, 2, "torchrun")),
    "a variable of some other program": ({"RANK": "3"}, Launched()),
    "srun, equal nodes": ({**TASK, "SLURM_TASKS_PER_NODE": "3(x2)"}, Launched(4, 6, 0, 3, "srun")),
    "srun, unequal nodes": ({**TASK, "SLURM_TASKS_PER_NODE": "4,2"}, Launched(4, 6, 0, 2, "srun")),
    "srun with tasks per node": ({**TASK, "SLURM_NTASKS_PER_NODE": "3"}, Launched(4, 6, 0, 3, "srun")),
    "srun, nothing said of nodes": (TASK, Launched(4, 6, 0, 3, "srun")),
    "srun of fewer tasks than were allocated": (
        {
            **TASK,
            "SLURM_TASKS_PER_NODE": "3(x2)",
            "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_PROCID": "1",
        },
        Launched(1, 2, 0, 1, "srun"),
    ),
    "srun of one task of an allocation of many": ({**TASK, "SLURM_STEP_NUM_TASKS": "1"}, Launched()),
    "a job script, which is no task": (
        {**ALLOCATION, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_TASKS_PER_NODE": "3(x2)"},
        Launched(),
    ),
    "a shell of srun's": ({**TASK, "SLURM_JOB_NAME": "bash"}, Launched()),
    "srun in a shell of salloc's": (
        {**TASK, "SLURM_JOB_NAME": "interactive", "SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_TASKS_PER_NODE": "3(x2)"},
        Launched(4, 6, 0, 3, "srun"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_place_of_a_process(name: str, environment: pytest.MonkeyPatch) -> None:
    variables, expected = CASES[name]
    for variable, value in variables.items():
        environment.setenv(variable, value)
    assert launched() == expected
    assert launched().first == (expected.rank == 0)


@pytest.mark.parametrize(
    ("text", "node", "expected"),
    [
        ("4", 0, 4),
        ("4(x2)", 1, 4),
        ("4(x2),3", 2, 3),
        ("2,1(x3),5", 4, 5),
        ("4(x2)", 2, None),
        ("", 0, None),
        ("many", 0, None),
        ("4(x)", 0, None),
    ],
)
def test_tasks_of_a_node(text: str, node: int, expected: int | None) -> None:
    assert tasks_of_node(text, node) == expected
