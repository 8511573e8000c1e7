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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        sections, methods = content[kind], content["methods"]
        common = {name: dict(sections.get(name) or {}) for name in SECTIONS}
        recipes = {name: _recipe(name, {**common["distill"], **options}, kind) for name, options in methods.items()}
        _check_starts(list(recipes.values()))
    except FileNotFoundError:
        raise UsageError("there are no such recipes", place=path) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"the recipes cannot be read ({error})", place=path) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"the recipes are not laid out as they have to be ({error!r})", place=path) from error
    return Recipes(common, recipes)


def _recipe(name: str, options: dict[str, Any], kind: str) -> Recipe:
    options = {**options, **(options.get(kind) or {})}
    if name == START or not re.fullmatch(r"\w[\w.-]*", str(name)):
        raise ValueError(f"'{name}' cannot be a run's folder; use other letters, digits, dots and dashes")
    teacher = options.get("teacher", "cache")
    if teacher not in TEACHERS:
        raise ValueError(f"{name}: the teacher is '{teacher}' and not one of {', '.join(TEACHERS)}")
    rest = {key: value for key, value in options.items() if key not in OWN_KEYS}
    start = options.get("start", True)
    return Recipe(str(name), rest, teacher, start=(START if start else None) if isinstance(start, bool) else str(start))


def _check_starts(recipes: list[Recipe]) -> None:
    """ValueError where a recipe starts from one that does not stand before it."""
    before = {START, None}
    for recipe in recipes:
        if recipe.start not in before:
            raise ValueError(f"{recipe.name}: it starts from '{recipe.start}', which has to stand before it")
        before.add(recipe.name)


def words_of(options: dict[str, Any]) -> list[str]:
    """Options as words of a command line; a list is an option given several times."""
    words: list[str] = []
    for key, value in options.items():
        flag = "--" + str(key).replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
            continue
        for item in value if isinstance(value, list) else [value]:
            words += [flag, str(item)]
    return words


def fresh_student(start: dict[str, Any]) -> dict[str, Any]:
    """The options of `distill` for a student with random weights: the network of the start."""
    network = {"student": start.get("model")} | {
        key: start.get(key) for key in ("width", "embedding_size", "input_size")
    }
    return {key: value for key, value in network.items() if value is not None}
