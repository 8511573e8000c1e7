"""What the study does: the steps, each a `facedistill` command, in the order in which they run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes import START, Recipe, Recipes, fresh_student, read_recipes
from steps import Step
from words import words_of

from facedistill.errors import UsageError


@dataclass(frozen=True)
class Study:
    """Where everything is, and with what arguments the commands find it.

    Args:
        folder: of the study.
        recipes: what is run.
        train: the training crops, with the option that limits them to the training people.
        test: the crops of the test people, likewise.
        pairs: the pair list.
        teacher: the teacher's model file or run.
        teacher_options: how its input is made: color, mean, std.
        device: auto, cpu or cuda.
        quiet: print errors only.
    """

    folder: Path
    recipes: Recipes
    train: tuple[str, ...]
    test: tuple[str, ...]
    pairs: Path
    teacher: str
    teacher_options: dict[str, Any]
    device: str
    quiet: bool

    @property
    def cache(self) -> Path:
        """The teacher's embeddings of the training crops."""
        return self.folder / "teacher-cache"

    def run_folder(self, name: str, seed: int) -> Path:
        """Of one training run."""
        return self.folder / "runs" / name / f"seed-{seed}"

    def say(self, line: str) -> None:
        """Print it."""
        if not self.quiet:
            print(line, flush=True)

    @property
    def quietly(self) -> tuple[str, ...]:
        """What every command ends with."""
        return ("--quiet",) if self.quiet else ()

    @property
    def manner(self) -> tuple[str, ...]:
        """What the commands with a network end with."""
        return (*(() if self.device == "auto" else ("--device", self.device)), *self.quietly)


def plan_data(given: argparse.Namespace) -> tuple[Study, list[Step]]:
    """The study, and the steps that make its crops, its pair list and its teacher."""
    made_up = given.lfw is None and given.crops is None
    recipes = read_recipes(given.recipes, "made-up" if made_up else "lfw")
    rest = {"folder": given.study, "recipes": recipes, "device": given.device, "quiet": given.quiet}
    return plan_made_up(given.study, rest) if made_up else plan_lfw(given, rest)


def plan_made_up(folder: Path, rest: dict[str, Any]) -> tuple[Study, list[Step]]:
    """Made-up faces: three groups of people, and a teacher that is trained on the first."""
    common = rest["recipes"].common
    faces = {group: folder / "faces" / group for group in ("teacher", "train", "test")}
    pairs, teacher = folder / "pairs.csv", folder / "teacher"
    study = Study(
        **rest, train=(str(faces["train"]),), test=(str(faces["test"]),), pairs=pairs, teacher=str(teacher),
        teacher_options={},
    )  # fmt: skip
    steps = [
        Step(
            f"faces-{group}",
            ("convert", common["data"][group], str(path), "--to", "folder", "--overwrite"),
            study.quietly,
        )
        for group, path in faces.items()
    ]
    listing = [
        "make-pairs",
        str(faces["test"]),
        "--out",
        str(pairs),
        "--overwrite",
        *words_of(common["pairs"], "make-pairs"),
    ]
    steps.append(Step("pairs", tuple(listing), study.quietly))
    training = ["train-teacher", str(faces["teacher"]), "--out", str(teacher), "--resume", "auto"]
    steps.append(Step("teacher", (*training, *words_of(common["teacher"], "train-teacher")), study.manner))
    return study, [*steps, cache_step(study)]


def plan_lfw(given: argparse.Namespace, rest: dict[str, Any]) -> tuple[Study, list[Step]]:
    """Photos of LFW under View 1: training people, and others to judge on."""
    for name in ("protocol", "teacher"):
        if getattr(given, name) is None:
            raise UsageError("the real study needs it", place=f"--{name}", next_step="See README.md")
    crops = given.study / "crops" if given.crops is None else given.crops
    options = {name: getattr(given, f"teacher_{name}") for name in ("color", "mean", "std")}
    study = Study(
        **rest,
        train=(str(crops), "--identities", str(given.protocol / "peopleDevTrain.txt")),
        test=(str(crops), "--identities", str(given.protocol / "peopleDevTest.txt")),
        pairs=given.protocol / "pairsDevTest.txt",
        teacher=str(given.teacher),
        teacher_options={name: value for name, value in options.items() if value is not None},
    )
    steps = []
    if given.crops is None:
        align = ("align", str(given.lfw), str(crops), *words_of(study.recipes.common["align"], "align"))
        steps.append(Step("crops", align, (*(["--resume"] if crops.exists() else []), *study.manner)))
    return study, [*steps, cache_step(study)]


def cache_step(study: Study) -> Step:
    """The teacher's pass over the training crops; the command goes on by itself where it was stopped."""
    words = ["embed", *study.train, "--model", study.teacher, *words_of(study.teacher_options, "embed")]
    return Step("teacher-cache", (*words, "-o", str(study.cache)), study.manner)


def start_step(study: Study, seed: int) -> Step:
    """The undistilled student that the methods start from."""
    words = ["train-teacher", *study.train, "--out", str(study.run_folder(START, seed)), "--seed", str(seed)]
    words += ["--resume", "auto", *words_of(study.recipes.common["start"], "train-teacher")]
    return Step(f"start-seed-{seed}", tuple(words), study.manner)


def method_step(study: Study, recipe: Recipe, seed: int) -> Step:
    """One training run of a method."""
    words = ["distill", *study.train]
    if recipe.teacher == "cache":
        words += ["--teacher", str(study.cache)]
    elif recipe.teacher == "live":
        words += ["--teacher", study.teacher]
        words += words_of({f"teacher_{name}": value for name, value in study.teacher_options.items()}, "distill")
    if recipe.start is not None:
        words += ["--init", str(study.run_folder(recipe.start, seed))]
    else:
        words += words_of(fresh_student(study.recipes.common["start"]), "distill")
    words += ["--out", str(study.run_folder(recipe.name, seed)), "--seed", str(seed), "--resume", "auto"]
    return Step(run_name(recipe.name, seed), (*words, *words_of(recipe.options, "distill")), study.manner)


def run_name(method: str, seed: int) -> str:
    """What a run's embeddings and its command are kept under."""
    return f"{method}-seed-{seed}"


def all_steps(study: Study, preparation: list[Step], recipes: list[Recipe], seeds: list[int]) -> Iterator[Step]:
    """Every command, in the order in which they run."""
    yield from preparation
    for seed in seeds:
        if any(recipe.start == START for recipe in recipes):
            yield start_step(study, seed)
        for recipe in recipes:
            yield method_step(study, recipe, seed)
