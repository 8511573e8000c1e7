from __future__ import annotations

import os
from pathlib import Path

import pytest

from facedistill.bench import pinned as module
from facedistill.bench.pinned import different_cores, pinned


def test_no_two_of_one_core_as_long_as_there_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Processors 0 and 1 share a core, 2 and 3, 4 and 5; nothing is told of 6.
    for number in range(6):
        core = number // 2
        (tmp_path / str(number)).write_text(f"{2 * core}-{2 * core + 1}\n")
    monkeypatch.setattr(module, "_TOPOLOGY", str(tmp_path / "{}"))
    processors = {6, 5, 4, 3, 2, 1, 0}
    assert different_cores(processors, 1) == (0,)
    assert different_cores(processors, 3) == (0, 2, 4)
    assert different_cores(processors, 4) == (0, 2, 4, 6)
    assert different_cores(processors, 5) == (0, 1, 2, 4, 6)
    assert different_cores(processors, 9) == (0, 1, 2, 3, 4, 5, 6)
    assert different_cores({4, 5}, 2) == (4, 5)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not let us choose")
def test_one_processor_while_it_lasts() -> None:
    before = os.sched_getaffinity(0)
    with pinned(1) as chosen:
        assert chosen is not None
        assert os.sched_getaffinity(0) == set(chosen)
        assert len(chosen) == 1
    assert os.sched_getaffinity(0) == before


def test_where_the_system_refuses_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    with pinned(1) as chosen:
        assert chosen is None
    monkeypatch.delattr(os, "sched_setaffinity")
    with pinned(1) as chosen:
        assert chosen is None
