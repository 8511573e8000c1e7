from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from facedistill.data.conversion import working_folder as module
from facedistill.data.conversion.convert import convert
from facedistill.data.conversion.target import choose_target
from facedistill.data.conversion.working_folder import clear_leftovers, working_folder
from facedistill.data.open_dataset import open_dataset
from facedistill.errors import UsageError

pytestmark = pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="needs Linux's boot id")

LEAVE = """
import os, sys
from pathlib import Path
from facedistill.data.conversion.working_folder import working_folder
with working_folder(Path(sys.argv[1])) as work:
    for name in sys.argv[2:]:
        (work / name).mkdir(parents=True)
        (work / name / "file").write_text(name)
    os.kill(os.getpid(), 9)
"""


def leave(final: Path, *folders: str) -> Path:
    """The working folder of a process that is killed in the midst of it."""
    before = set(final.parent.iterdir())
    done = subprocess.run([sys.executable, "-c", LEAVE, str(final), *folders], check=False)
    assert done.returncode == -signal.SIGKILL
    (work,) = set(final.parent.iterdir()) - before
    return work


def test_a_folder_of_a_killed_process_is_removed_and_only_that(tmp_path: Path) -> None:
    dead = leave(tmp_path / "out", "new/out")
    others = [leave(tmp_path / name) for name in ("out.rec", "ou", "out.abcdefgh")]
    look_alikes = [tmp_path / name for name in (".out.partial", ".out.abcdefgh.partial.d", "out.abcdefgh.partial")]
    for folder in look_alikes:
        folder.mkdir()
    (tmp_path / ".out.12345678.partial").symlink_to(others[0])
    (tmp_path / ".out.abcdefgi.partial").write_text("a file")
    assert (dead / "new" / "out" / "file").exists()
    with working_folder(tmp_path / "out") as alive:
        assert clear_leftovers(tmp_path / "out") == []
        assert alive.is_dir(), "its process, this one, is alive"
    assert not alive.exists()
    assert not dead.exists()
    assert all(folder.is_dir() for folder in [*others, *look_alikes])
    assert (tmp_path / ".out.12345678.partial").is_symlink()
    assert (tmp_path / ".out.abcdefgi.partial").is_file()


def test_one_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    waiting = LEAVE.replace("os.kill(os.getpid(), 9)", "print(flush=True); sys.stdin.read()")
    process = subprocess.Popen(
        [sys.executable, "-c", waiting, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        (work,) = tmp_path.iterdir()
        assert clear_leftovers(tmp_path / "out") == []
        assert work.is_dir()
        process.kill()
        process.wait()
        assert clear_leftovers(tmp_path / "out") == []
        assert not work.exists()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_one_of_another_machine_is_named_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = leave(tmp_path / "out", "replaced")
    monkeypatch.setattr(module, "_system_start", lambda: b"another start of the system\n")
    (note,) = clear_leftovers(tmp_path / "out")
    assert note.startswith(f"{work} was left by an interrupted conversion, or another machine is at work there")
    assert note.endswith("delete it if no conversion runs, but keep the earlier result, its folder 'replaced'")
    assert (work / "replaced" / "file").exists()
    monkeypatch.setattr(module, "_system_start", lambda: b"")
    assert len(clear_leftovers(tmp_path / "out")) == 1


@pytest.mark.parametrize("content", [None, b"", b"no boot id"])
def test_one_without_a_lock_that_says_something_is_named(tmp_path: Path, content: bytes | None) -> None:
    work = tmp_path / ".out.abcdefgh.partial"
    work.mkdir()
    if content is not None:
        (work / "lock").write_bytes(content)
    (note,) = clear_leftovers(tmp_path / "out")
    assert note.startswith(f"{work} was left by")
    assert work.is_dir()


def test_a_pipe_in_the_place_of_a_lock_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / ".out.abcdefgh.partial").mkdir()
    os.mkfifo(tmp_path / ".out.abcdefgh.partial" / "lock")
    clear_leftovers(tmp_path / "out")
    assert (tmp_path / ".out.abcdefgh.partial").is_dir()


def test_an_earlier_result_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    work = leave(tmp_path / "out", "new/out", "replaced")
    assert clear_leftovers(tmp_path / "out") == []
    assert (tmp_path / "out" / "file").read_text() == "replaced"
    assert not work.exists()
    leave(tmp_path / "out", "replaced")
    (tmp_path / "out" / "file").write_text("the new one had its place already")
    assert clear_leftovers(tmp_path / "out") == []
    assert (tmp_path / "out" / "file").read_text() == "the new one had its place already"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_no_place_yet_and_long_names(tmp_path: Path) -> None:
    assert clear_leftovers(tmp_path / "no" / "out") == []
    for name in ("\u6f22" * 85, "x" * 255):
        work = leave(tmp_path / name)
        assert clear_leftovers(tmp_path / f"{name[:-1]}y") == [], "another one's"
        assert work.is_dir()
        assert clear_leftovers(tmp_path / name) == []
        assert not work.exists()


KILLED = """
import os, sys
from facedistill.data.conversion.convert import convert
from facedistill.data.conversion.target import choose_target
from facedistill.data.open_dataset import open_dataset
from pathlib import Path
target = choose_target(Path(sys.argv[1]), sys.argv[2])
convert(open_dataset("made-up:2x2,size=32"), target, progress=lambda done, total: os.kill(os.getpid(), 9))
"""


@pytest.mark.parametrize("form", ["folder", "rec", "shards"])
def test_killed_conversions_do_not_pile_up(tmp_path: Path, form: str) -> None:
    out = tmp_path / ("out.rec" if form == "rec" else "out")
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), form], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    result = convert(open_dataset("made-up:2x2,size=32"), choose_target(out, form))
    assert (result.images, result.notes) == (4, ())
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".partial"]


def test_a_conversion_says_what_it_could_not_clear_and_sees_what_came_back(tmp_path: Path) -> None:
    (tmp_path / ".out.abcdefgh.partial").mkdir()
    result = convert(open_dataset("made-up:2x2,size=32"), choose_target(tmp_path / "out"))
    assert ".out.abcdefgh.partial was left by an interrupted conversion" in result.notes[0]
    leave(tmp_path / "back", "replaced")
    with pytest.raises(UsageError, match="is not empty"):
        convert(open_dataset("made-up:2x2,size=32"), choose_target(tmp_path / "back"))
