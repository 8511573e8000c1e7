"""`--config FILE` for every command: a YAML file of its options, over which the flags win."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from .errors import report


def read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a YAML file the defaults of the command; UsageError for a key it does not have."""
    if path is None:
        return None
    import yaml

    from facedistill.errors import UsageError, unknown_name

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"the configuration cannot be read ({error})", place=path) from error
    if not isinstance(values, dict):
        raise UsageError("the configuration has to be a mapping of options to values", place=path)
    run = values.pop("run", None)  # the facts that a run's own configuration adds
    if isinstance(run, dict) and run.get("command") not in (None, ctx.info_name):
        raise UsageError(f"this is the configuration of a run of {run['command']}, not of {ctx.info_name}", place=path)
    known = option_names(ctx)
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("_", "-")
        if name not in known:
            raise unknown_name(f"option of {ctx.info_name}", name, known)
        parameter = known[name]
        if value is None:
            continue  # a key without a value says nothing
        if parameter.multiple:
            value = several(value, JOINED_BY.get(name, "="))
        elif name == "method":
            value = " ".join(several(value, ":"))
        defaults[parameter.name] = value
    ctx.default_map = defaults
    return path


# How a key and its value in a mapping are written on the command line.
JOINED_BY = {"set": "=", "plus": ":"}


def several(value: Any, joined_by: str, prefix: str = "") -> list[Any]:
    """The values of an option that may be repeated, written as a list, as one of them, or as a mapping.

    A mapping within a mapping gives names with a dot: `margin-softmax: {head: cosface}` is margin-softmax.head=cosface.
    """
    if isinstance(value, dict):
        parts: list[Any] = []
        for name, item in value.items():
            if isinstance(item, dict):
                parts += several(item, joined_by, f"{prefix}{name}.")
            else:
                parts.append(f"{prefix}{name}{joined_by}{spelled(item)}")
        return parts
    if isinstance(value, list):
        return [part for item in value for part in (several(item, joined_by) if isinstance(item, dict) else [item])]
    return [value]


def spelled(value: Any) -> str:
    """A value of YAML as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return str(value)


def option_names(ctx: typer.Context) -> dict[str, Any]:
    """What an option is called on the command line, without its dashes -> the parameter it sets."""
    return {
        spelling.lstrip("-"): parameter
        for parameter in ctx.command.params
        for spelling in parameter.opts
        if parameter.name and parameter.name != "config" and (spelling.startswith("--") or spelling == parameter.name)
    }


def accept_config(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a `--config` option added to its own, and its errors reported."""

    @functools.wraps(command)
    def wrapper(*args: Any, config: Path | None = None, **kwargs: Any) -> None:
        # Here as well as in main, because Typer would take an interruption for itself and say nothing.
        with report():
            command(*args, **kwargs)

    option = typer.Option(
        None,
        "--config",
        callback=read_config,
        is_eager=True,
        help="YAML file of this command's options; flags win over it.",
        rich_help_panel="General",
    )
    signature = inspect.signature(command, eval_str=True)
    parameter = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=option, annotation=Path | None)
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), parameter]
    )
    wrapper.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()} | {"config": Path | None}
    return wrapper
