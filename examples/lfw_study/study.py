"""Distil one student by every method, with several seeds, and tell which differences are to be believed.

python examples/lfw_study/study.py STUDY                        made-up faces, on two cores in the time of a long lunch
python examples/lfw_study/study.py STUDY --lfw PHOTOS --protocol LISTS --teacher mobilefacenet.onnx --teacher-std 128

STUDY is a folder. What was finished in it is not done again, so a study that was stopped goes on where it was, and
--methods and --seeds divide it between hours and machines. --report makes the tables and the plot of what is there.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kept import TestSet, embed_test_set, make_test_set
from recipes import START, Recipe, Recipes, fresh_student, read_recipes, words_of
from report import write_report
from steps import Journal, Step, StepFailedError, run, run_once

from facedistill.errors import FacedistillError, UsageError
from facedistill.training.run_summary import RunSummary, read_run

HERE = Path(__file__).resolve().parent
BASELINES = ("undistilled", "triplet")


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; the exit status is 1 where a method failed."""
    given = parse(arguments)
    try:
        if given.report:
            write_report(given.study, resamples=given.resamples, baselines=BASELINES)
            return 0
        study, preparation = plan_data(given)
        recipes = study.recipes.chosen(given.methods)
        check_all(study, preparation, recipes, given.seeds)
        if given.plan:
            for step in all_steps(study, preparation, recipes, given.seeds):
                print(step.command)
            return 0
        failed = run_study(study, preparation, recipes, given.seeds)
        for line in failed:
            print(f"failed: {line}", file=sys.stderr)
        write_report(study.folder, resamples=given.resamples, baselines=BASELINES)
        study.say(f"the tables and the plot are {study.folder / 'results.md'}, .csv, .json and .png")
    except FacedistillError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 1 if failed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path, metavar="STUDY", help="folder to write, or to go on with")
    lfw = parser.add_argument_group("photos of LFW in place of made-up faces")
    lfw.add_argument("--lfw", type=Path, metavar="PHOTOS", help="folder of the photos, one sub-folder a person")
    lfw.add_argument("--crops", type=Path, metavar="DIR", help="aligned crops of them, in place of aligning them here")
    lfw.add_argument("--protocol", type=Path, metavar="DIR", help="folder of peopleDev*.txt and pairsDevTest.txt")
    lfw.add_argument("--teacher", type=Path, metavar="FILE", help="the teacher, any model that facedistill opens")
    lfw.add_argument("--teacher-color", choices=("rgb", "bgr"), help="of a foreign file: its colour order")
    lfw.add_argument("--teacher-mean", type=float, help="of a foreign file: mean of its input, 0..255 scale")
    lfw.add_argument("--teacher-std", type=float, help="of a foreign file: standard deviation of its input")
    parser.add_argument("--recipes", type=Path, default=HERE / "recipes.yaml", metavar="FILE", help="what is run")
    parser.add_argument("--methods", type=lambda text: text.split(","), metavar="A,B", help="these recipes only")
    parser.add_argument(
        "--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2], metavar="N,N"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="of the people, for the intervals")
    parser.add_argument("--report", action="store_true", help="only make the tables and the plot of what is there")
    parser.add_argument("--plan", action="store_true", help="only print the commands")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser.parse_args(arguments)


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
    listing = ["make-pairs", str(faces["test"]), "--out", str(pairs), "--overwrite", *words_of(common["pairs"])]
    steps.append(Step("pairs", tuple(listing), study.quietly))
    training = ["train-teacher", str(faces["teacher"]), "--out", str(teacher), "--resume", "auto"]
    steps.append(Step("teacher", (*training, *words_of(common["teacher"])), study.manner))
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
        align = ("align", str(given.lfw), str(crops), *words_of(study.recipes.common["align"]))
        steps.append(Step("crops", align, (*(["--resume"] if crops.exists() else []), *study.manner)))
    return study, [*steps, cache_step(study)]


def cache_step(study: Study) -> Step:
    """The teacher's pass over the training crops; the command goes on by itself where it was stopped."""
    words = ["embed", *study.train, "--model", study.teacher, *words_of(study.teacher_options)]
    return Step("teacher-cache", (*words, "-o", str(study.cache)), study.manner)


def start_step(study: Study, seed: int) -> Step:
    """The undistilled student that the methods start from."""
    words = ["train-teacher", *study.train, "--out", str(study.run_folder(START, seed)), "--seed", str(seed)]
    words += ["--resume", "auto", *words_of(study.recipes.common["start"])]
    return Step(f"start-seed-{seed}", tuple(words), study.manner)


def method_step(study: Study, recipe: Recipe, seed: int) -> Step:
    """One training run of a method."""
    words = ["distill", *study.train]
    if recipe.teacher == "cache":
        words += ["--teacher", str(study.cache)]
    elif recipe.teacher == "live":
        words += ["--teacher", study.teacher]
        words += words_of({f"teacher_{name}": value for name, value in study.teacher_options.items()})
    if recipe.start is not None:
        words += ["--init", str(study.run_folder(recipe.start, seed))]
    else:
        words += words_of(fresh_student(study.recipes.common["start"]))
    words += ["--out", str(study.run_folder(recipe.name, seed)), "--seed", str(seed), "--resume", "auto"]
    return Step(run_name(recipe.name, seed), (*words, *words_of(recipe.options)), study.manner)


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


def check_all(study: Study, preparation: list[Step], recipes: list[Recipe], seeds: list[int]) -> None:
    """UsageError for an option that a command does not have, a finished run of another recipe, or a missing start."""
    journal = Journal(study.folder)
    chosen = {recipe.name for recipe in recipes}
    for recipe, seed in itertools.product(recipes, seeds):
        if recipe.start in (None, START) or recipe.start in chosen:
            continue
        if not journal.is_done(method_step(study, study.recipes.methods[recipe.start], seed)):
            raise UsageError(
                f"{recipe.name} starts from {recipe.start}, which is not trained with seed {seed} yet",
                next_step=f"Add {recipe.start} to --methods",
            )
    for step in all_steps(study, preparation, recipes, seeds):
        step.check()
        journal.is_done(step)


def run_study(study: Study, preparation: list[Step], recipes: list[Recipe], seeds: list[int]) -> list[str]:
    """Run what is not finished; what failed, a line each. A failed method does not keep the others from running."""
    journal = Journal(study.folder)
    for step in preparation:
        run_once(journal, step, study.say)
    test = make_test_set(study.folder, study.test, study.pairs)
    teacher = Step("teacher-on-test", ("eval", study.teacher))
    if not journal.is_done(teacher):
        embed_test_set(test, study.folder, "teacher", study.teacher, device=study.device, **study.teacher_options)
        journal.finish(teacher)
    failed: list[str] = []
    for seed in seeds:
        try:
            if any(recipe.start == START for recipe in recipes):
                run_once(journal, start_step(study, seed), study.say)
        except StepFailedError as error:
            failed.append(str(error))
            continue
        for recipe in recipes:
            try:
                run_method(study, journal, test, recipe, seed)
            except StepFailedError as error:
                failed.append(str(error))
    return failed


def run_method(study: Study, journal: Journal, test: TestSet, recipe: Recipe, seed: int) -> None:
    """Train one run, and keep its embeddings of the test photos."""
    step, folder = method_step(study, recipe, seed), study.run_folder(recipe.name, seed)
    if journal.is_done(step):
        return
    study.say(f"$ {step.command}")
    run([*step.words, *step.manner])
    parameters = embed_test_set(test, study.folder, step.name, str(folder), device=study.device)
    summary = read_run(folder, name=str(folder))
    journal.finish(step, method=recipe.name, seed=seed, hours=round(hours_of(summary), 6), parameters=parameters)


def hours_of(run: RunSummary) -> float:
    """How long the training took, without evaluations and saves, by the images and the speed of each record."""
    images = float(run.options.get("batch_size", 0)) * float(run.options.get("accumulate", 1))
    seconds, before = 0.0, 0
    for record in run.records:
        seconds += (record["step"] - before) * images / max(record["images_per_second"], 1e-9)
        before = record["step"]
    return seconds / 3600


if __name__ == "__main__":
    sys.exit(main())
