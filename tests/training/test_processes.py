"""What keeps a run from starting, and how the processes of one find each other; here there is only one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from facedistill.errors import TrainingError, UsageError
from facedistill.launcher import Launched
from facedistill.training import processes
from facedistill.training.processes import (
    LaunchedEnvironment,
    agree,
    agreement_group,
    join_processes,
    make_fabric,
    others_may_end,
)

SLURM = {"SLURM_JOB_ID": "1234567", "SLURM_NODELIST": "node[07-09],other", "SLURM_NODEID": "2"}


@pytest.fixture(autouse=True)
def nobody_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK", "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)


def test_one_process_is_alone() -> None:
    fabric = join_processes("cpu", "32")
    assert (fabric.world_size, fabric.global_rank, fabric.device) == (1, 0, torch.device("cpu"))
    assert agreement_group() is None
    assert agree([3, 0], None) == [3, 0]


def test_a_job_script_of_many_tasks_is_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fabric, left to itself, refuses or warns here."""
    variables = {**SLURM, "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2", "SLURM_PROCID": "0"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "srun").write_text("")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert join_processes("cpu", "32").world_size == 1


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(UsageError, match="16-bit floats need a GPU") as error:
        join_processes("cpu", "16")
    assert error.value.place == "--precision"
    assert join_processes("cpu", "bf16").world_size == 1


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "choose_device", lambda _: torch.device("cuda:2"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"4 processes were started on this machine, which has 2 GPU\(s\)"):
        join_processes("cuda", "32")


def test_processes_that_did_not_find_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "launched", lambda: Launched(1, 2, 1, 2, "torchrun"))
    monkeypatch.setattr(processes, "make_fabric", lambda kind, precision, _: make_fabric(kind, precision, Launched()))
    with pytest.raises(UsageError, match="2 processes were started, and 1 found one another"):
        join_processes("cpu", "32")


def test_the_place_that_slurm_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    place = Launched(5, 7, 1, 3, "srun")
    environment = LaunchedEnvironment(place)
    assert (environment.main_address, environment.main_port) == ("node07", 19567)
    assert environment.creates_processes_externally
    ranks = environment.world_size(), environment.global_rank(), environment.local_rank(), environment.node_rank()
    assert ranks == (7, 5, 1, 2)
    environment.validate_settings(3, 2)  # nodes may have unequally many tasks
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node08")
    monkeypatch.delenv("MASTER_ADDR")
    assert LaunchedEnvironment(place).main_address == "node08"
    monkeypatch.setenv("MASTER_ADDR", "chosen")
    monkeypatch.setenv("MASTER_PORT", "1")
    environment = LaunchedEnvironment(place)
    assert (environment.main_address, environment.main_port) == ("chosen", 1)


def test_the_place_that_torchrun_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MASTER_ADDR": "first", "MASTER_PORT": "29500", "GROUP_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    environment = LaunchedEnvironment(Launched(6, 8, 2, 4, "torchrun"))
    assert (environment.main_address, environment.main_port) == ("first", 29500)
    ranks = environment.world_size(), environment.global_rank(), environment.local_rank(), environment.node_rank()
    assert ranks == (8, 6, 2, 1)


def test_the_end_of_another_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"
    with pytest.raises(RuntimeError, match="Connection closed"), others_may_end():
        raise RuntimeError(lost)  # there is nobody else
    monkeypatch.setattr(processes, "ranks", lambda: 2)
    with pytest.raises(TrainingError, match="another process of the run has ended"), others_may_end():
        raise RuntimeError(lost)
    with pytest.raises(RuntimeError, match="size mismatch"), others_may_end():
        raise RuntimeError("size mismatch")
