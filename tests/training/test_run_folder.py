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
    RunFolder(tmp_path / "run").write_config({"a": 1})
    (tmp_path / "run" / "old").write_text("x")
    run = RunFolder(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "old").exists()  # nothing is lost before the new run is sure to begin
    run.write_config({"b": 2})
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]


def test_nothing_to_resume_and_contradictions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run to resume"):
        RunFolder(tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="exclude one another"):
        RunFolder(tmp_path / "run", resume=True, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="the output is a file"):
        RunFolder(tmp_path / "file")


def test_damaged_state_and_configuration(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.state_file.parent.mkdir(parents=True)
    run.state_file.write_bytes(b"nonsense")
    with pytest.raises(ModelFileError, match="saved state cannot be read"):
        run.load_state()
    (run.path / "config.yaml").write_text("- a\n")
    with pytest.raises(ModelFileError, match="not a mapping"):
        run.read_config()
