"""Every command that the documents show has to be one that the command line understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from facedistill_cli.app import app

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown_commands() -> list[tuple[str, list[str]]]:
    commands = []
    for document in DOCUMENTS:
        for block in re.findall(r"```(?:console|bash)\n(.*?)```", document.read_text(encoding="utf-8"), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = without_launcher(shlex.split(line, comments=True))
                if words[:1] == ["facedistill"]:
                    commands.append((document.name, words[1:]))
    return commands


def without_launcher(words: list[str]) -> list[str]:
    """`facedistill ...` for what torchrun or srun start."""
    if words[:1] == ["torchrun"]:
        module = words.index("-m")
        assert words[module + 1] == "facedistill_cli"
        return ["facedistill", *words[module + 2 :]]
    return words[words.index("facedistill") :] if words[:1] == ["srun"] else words


def test_there_are_commands_to_check() -> None:
    assert {"align", "train-teacher", "distill", "eval", "export"} <= {words[0] for _, words in shown_commands()}


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("torchrun --nnodes 2 --nproc-per-node 8 -m facedistill_cli distill crops", "facedistill distill crops"),
        ("srun --ntasks 2 facedistill distill crops", "facedistill distill crops"),
        ("tensorboard --logdir run", "tensorboard --logdir run"),
    ],
)
def test_what_a_launcher_starts_is_seen(line: str, seen: str) -> None:
    assert without_launcher(line.split()) == seen.split()


@pytest.mark.parametrize(("document", "words"), shown_commands())
def test_a_shown_command_is_understood(
    document: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = typer.main.get_command(app)
    command = group.commands[words[0]]  # type: ignore[attr-defined]
    monkeypatch.chdir(ROOT)
    if "--config" in words and not Path(words[words.index("--config") + 1]).is_file():
        # A run's own, which holds the data too.
        monkeypatch.chdir(tmp_path)
        config = Path(words[words.index("--config") + 1])
        config.parent.mkdir(exist_ok=True)
        config.write_text("data: [crops]\n")
    # Parsing stops at an unknown option, a missing argument or a value of the wrong type.
    command.make_context(words[0], words[1:])


def test_a_misspelt_command_would_be_noticed() -> None:
    command = typer.main.get_command(app).commands["distill"]  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="--methd"):
        command.make_context("distill", ["crops", "--out", "run", "--methd", "triplet"])


@pytest.mark.parametrize("name", ["distill", "train-teacher"])
def test_the_example_configuration_has_known_keys(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    keys = yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text())
    spellings = {option.lstrip("-").replace("-", "_") for parameter in command.params for option in parameter.opts}
    assert set(keys) <= spellings


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for target in re.findall(r"^make (\S+)", (ROOT / "README.md").read_text(), re.M):
        assert target in targets
