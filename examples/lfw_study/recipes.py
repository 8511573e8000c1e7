"""The study's recipes, and the `facedistill` commands that they stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from facedistill.errors import DataError, UsageError, unknown_name

SECTIONS = ("align", "data", "pairs", "teacher", "start", "distill")
OWN_KEYS = ("teacher", "start", "made-up", "lfw")
SET_BY_STUDY = ("out", "seed", "resume", "init", "overwrite")
GROUPS = ("teacher", "train", "test")
"""Of made-up people; none is in two of them."""
TEACHERS = ("cache", "live", "none")
START = "start"
"""What the undistilled student's run is called, from which methods start."""


@dataclass(frozen=True)
class Recipe:
    """How one method is trained.

    Args:
        name: of the method in tables.
        options: of `facedistill distill`.
        teacher: where the teacher's embeddings come from, one of TEACHERS.
        start: whose run of the same seed the student starts from: START, the undistilled student's, or another
            recipe's; None to begin with random weights.
    """

    name: str
    options: dict[str, Any]
    teacher: str = "cache"
    start: str | None = START


@dataclass(frozen=True)
class Recipes:
    """A file of recipes, as one kind of data has them.

    Args:
        common: section -> its options, see SECTIONS.
        methods: name -> recipe.
    """

    common: dict[str, dict[str, Any]]
    methods: dict[str, Recipe]

    def chosen(self, names: list[str] | None) -> list[Recipe]:
        """The recipes of these names, or all; UsageError for a name that is not there."""
        for name in names or []:
            if name not in self.methods:
                raise unknown_name("recipe", name, self.methods)
        return [self.methods[name] for name in names or self.methods]


def read_recipes(path: Path, kind: str) -> Recipes:
    """The recipes at `path` for made-up faces ("made-up") or photos of LFW ("lfw").

    Raises:
        UsageError: there is no such file.
        DataError: it is no file of recipes.
    """
    try:
        content = _mapping(yaml.safe_load(path.read_text(encoding="utf-8")), "the file")
        sections, methods = (_section(content, name) for name in (kind, "methods"))
        common = {name: _mapping(sections.get(name) or {}, f"{kind}, {name}") for name in SECTIONS}
        missing = [group for group in GROUPS if kind == "made-up" and group not in common["data"]]
        if missing:
            raise ValueError(f"the section made-up, data has no {missing[0]}; it needs {', '.join(GROUPS)}")
        recipes = {str(name): _recipe(str(name), common["distill"], options, kind) for name, options in methods.items()}
        _check_starts(list(recipes.values()))
    except FileNotFoundError:
        raise UsageError("there are no such recipes", place=path) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"the recipes cannot be read ({error})", place=path) from error
    except ValueError as error:
        raise DataError(str(error), place=path, next_step="See README.md") from error
    return Recipes(common, recipes)


def _mapping(value: object, name: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} has to be a mapping, such as {{epochs: 4}}, and is {value!r}")
    return dict(value)


def _section(content: dict[str, Any], name: str) -> dict[Any, Any]:
    if not content.get(name):
        raise ValueError(f"the section '{name}' is missing; add it, as the recipes that come with the study have it")
    return _mapping(content[name], name)


def _recipe(name: str, shared: dict[str, Any], own: object, kind: str) -> Recipe:
    options = {**shared, **_mapping(own, name)}
    options |= _mapping(options.get(kind) or {}, f"{name}, {kind}")
    if name in (START, "teacher") or not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"'{name}' cannot be a run's folder; use other letters, digits, dots and dashes")
    teacher = options.get("teacher", "cache")
    if teacher not in TEACHERS:
        raise ValueError(f"{name}: the teacher is '{teacher}' and not one of {', '.join(TEACHERS)}")
    for key in options:
        if key in SET_BY_STUDY:
            raise ValueError(f"{name}: {key} is chosen by the study; leave it out")
    rest = {key: value for key, value in options.items() if key not in OWN_KEYS}
    start = options.get("start", True)
    return Recipe(name, rest, teacher, start=(START if start else None) if isinstance(start, bool) else str(start))


def _check_starts(recipes: list[Recipe]) -> None:
    """ValueError where a recipe starts from one that does not stand before it."""
    before = {START, None}
    for recipe in recipes:
        if recipe.start not in before:
            raise ValueError(f"{recipe.name}: it starts from '{recipe.start}', which has to stand before it")
        before.add(recipe.name)


def fresh_student(start: dict[str, Any]) -> dict[str, Any]:
    """The options of `distill` for a student with random weights: the network of the start."""
    network = {"student": start.get("model")} | {
        key: start.get(key) for key in ("width", "embedding_size", "input_size")
    }
    return {key: value for key, value in network.items() if value is not None}
