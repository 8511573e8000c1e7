"""Options of a recipe as the words of a `facedistill` command, and what the command understands by its words."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import typer
import typer.main
from facedistill_cli.app import app

from facedistill.errors import UsageError

# Newer versions of Typer have a click of their own; this is the UsageError of whichever it is.
CommandLineError: Any = typer.BadParameter.__mro__[1]


@functools.cache
def find_command(name: str) -> Any:
    """The command of `facedistill` that is called so."""
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


def words_of(options: dict[str, Any], command: str) -> list[str]:
    """Options, as a --config file of the command has them, as words of its command line.

    An option that can be repeated is given once for each item of a list, and once as NAME=VALUE for each of a mapping;
    the items of another one's list are joined by commas. What is null is left out, and so is a flag that is false and
    has no --no- form. An option that the command does not have is written down all the same, for it to refuse.
    """
    parameters = {spelling: parameter for parameter in find_command(command).params for spelling in parameter.opts}
    words: list[str] = []
    for key, value in options.items():
        flag = "--" + str(key).replace("_", "-")
        parameter = parameters.get(flag)
        if value is None:
            continue
        if isinstance(value, bool) and (parameter is None or parameter.is_flag):
            if value:
                words.append(flag)
            elif parameter is None or parameter.secondary_opts:
                words.append(flag.replace("--", "--no-", 1))
            continue
        items = _items(value)
        if isinstance(value, list) and parameter is not None and not parameter.multiple:
            items = [",".join(items)]
        for item in items:
            words += [flag, item]
    return words


def _items(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}={_spell(item)}" for name, item in value.items()]
    return [_spell(item) for item in (value if isinstance(value, list) else [value])]


def _spell(value: Any) -> str:
    """As YAML reads it: null, true and false too."""
    return json.dumps(value) if value is None or isinstance(value, (bool, list)) else str(value)


def understand(words: Sequence[str]) -> dict[str, Any]:
    """What a command, such as ["distill", "crops", "--lr", "0.1"], takes its words for: argument -> value.

    Raises:
        UsageError: it does not have such an option, or a value is of another kind.
    """
    try:
        return dict(find_command(words[0]).make_context(words[0], list(words[1:])).params)
    except CommandLineError as error:
        raise UsageError(error.format_message().rstrip(".")) from error
