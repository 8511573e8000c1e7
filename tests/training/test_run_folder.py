from __future__ import annotations

from pathlib import Path

import pytest

from facedistill.errors import ModelFileError, UsageError
from facedistill.training.run_folder import RunFolder


def test_an_occupied_folder_is_never_overwritten_silently(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="the output folder is not empty"):
        RunFolder(tmp_path)
    with pytest.raises(UsageError, match="is not a run"):
        RunFolder(tmp_path, overwrite=True)
    assert (tmp_path / "photo.jpg").read_bytes() == b"precious"


def test_a_run_is_overwritten_when_asked(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run").write_config({"run": {"facedistill": "1"}})
    (tmp_path / "run" / "old").write_text("x")
    run = RunFolder(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "old").exists()  # nothing is lost before the new run is sure to begin
    run.write_config({"b": 2})
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]


def test_nothing_to_resume_and_contradictions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run to resume"):
        RunFolder(tmp_path / "run", resume="yes")
    with pytest.raises(UsageError, match="exclude one another"):
        RunFolder(tmp_path / "run", resume="auto", overwrite=True)
    with pytest.raises(UsageError, match="'always' is none of yes, auto and no"):
        RunFolder(tmp_path / "run", resume="always")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="the output is a file"):
        RunFolder(tmp_path / "file")


def test_auto_begins_where_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    assert not RunFolder(tmp_path / "run", resume="auto").resumed
    RunFolder(tmp_path / "run").write_config({"run": {"facedistill": "1"}})  # and stopped before anything was saved
    again = RunFolder(tmp_path / "run", resume="auto")
    assert not again.resumed
    again.write_config({"b": 2})
    assert again.read_config() == {"b": 2}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="the output folder is not empty"):
        RunFolder(tmp_path / "other", resume="auto")


def test_what_is_no_run_is_left_alone(tmp_path: Path) -> None:
    """Other programs have a config.yaml too."""
    (tmp_path / "config.yaml").write_text("x: 1\n")
    (tmp_path / "thesis.tex").write_text("precious")
    for changes in ({"overwrite": True}, {"resume": "auto"}):
        with pytest.raises(UsageError, match=r"is not a run|is not empty"):
            RunFolder(tmp_path, **changes)  # type: ignore[arg-type]


def test_auto_keeps_what_a_run_has_beside_its_states(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_config({"run": {"facedistill": "1"}})
    (tmp_path / "best.safetensors").write_bytes(b"precious")
    with pytest.raises(UsageError, match="the output folder is not empty"):
        RunFolder(tmp_path, resume="auto")


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    one, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with (
        one.locked(),
        pytest.raises(UsageError, match="another process is training into this folder"),
        other.locked(),
    ):
        pass
    with other.locked():
        other.write_config({"run": {"facedistill": "1"}})
    assert RunFolder(tmp_path / "run", resume="auto").resumed is False


def test_only_the_first_process_checks_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config.yaml").write_text("of: the first")
    RunFolder(tmp_path).write_config({"of": "the second"})
    assert (tmp_path / "config.yaml").read_text() == "of: the first"


def test_a_damaged_configuration(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_config({})
    (run.path / "config.yaml").write_text("- a\n")
    with pytest.raises(ModelFileError, match="not a mapping"):
        run.read_config()
