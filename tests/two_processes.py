"""Runs a function of a test in two processes that talk to each other, on the CPU."""

from __future__ import annotations

import multiprocessing
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

ROOT = str(Path(__file__).resolve().parents[1])


def run_in_two_processes(function: Callable[..., Any], *args: Any, tmp_path: Path, seconds: float = 120) -> list[Any]:
    """What `function(*args)` returns in process 0 and in process 1 of a gloo group.

    A spawn costs some seconds, so let one function check all that it can.

    Args:
        function: of a module's top level, so that a new process finds it.
        args: picklable.
        tmp_path: where the processes meet and leave their results.
        seconds: how long they may take.

    Raises:
        AssertionError: a process failed, with its traceback, or took too long.
    """
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run, args=(rank, folder, function, args)) for rank in range(2)]
    # A new process looks for the tests where this one does, which need not be where pytest found them.
    sys.path.insert(0, ROOT)
    try:
        for process in processes:
            process.start()
    finally:
        sys.path.remove(ROOT)
    deadline = time.monotonic() + seconds
    while any(process.exitcode is None for process in processes):
        # When one has failed the other waits for it in vain.
        if any(process.exitcode for process in processes) or time.monotonic() > deadline:
            break
        processes[0].join(0.05)
        processes[1].join(0.05)
    for process in processes:
        if process.exitcode is None:
            process.kill()
        process.join()
    failures = "\n".join(path.read_text() for path in sorted(folder.glob("failure-*")))
    assert all(process.exitcode == 0 for process in processes), failures or f"not done after {seconds} s"
    return [torch.load(folder / f"result-{rank}.pt", weights_only=False) for rank in range(2)]


def _run(rank: int, folder: Path, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    try:
        distributed.init_process_group(
            "gloo",
            init_method=(folder / "meeting").as_uri(),
            rank=rank,
            world_size=2,
            timeout=timedelta(seconds=60),
        )
        torch.save(function(*args), folder / f"result-{rank}.pt")
        distributed.destroy_process_group()
    except BaseException:
        (folder / f"failure-{rank}").write_text(f"process {rank}:\n{traceback.format_exc()}")
        raise
