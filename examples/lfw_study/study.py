"""Distil one student by every method, with several seeds, and tell which differences are to be believed.

python examples/lfw_study/study.py STUDY                        made-up faces, on two cores in the time of a long lunch
python examples/lfw_study/study.py STUDY --lfw PHOTOS --protocol LISTS --teacher mobilefacenet.onnx --teacher-std 128

STUDY is a folder. What was finished in it is not done again, so a study that was stopped goes on where it was, and
--methods and --seeds divide it between hours and machines. --report makes the tables and the plot of what is there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from checks import check_all
from finished import TEACHER_JUDGED
from kept import TestSet, embed_test_set, make_test_set
from plan import Study, all_steps, method_step, plan_data, start_step
from recipes import START, Recipe
from report import write_report
from steps import Journal, Step, StepFailedError, run, run_once

from facedistill.errors import FacedistillError
from facedistill.training.run_summary import RunSummary, read_run

HERE = Path(__file__).resolve().parent
BASELINES = ("undistilled", "triplet")


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
        "--seeds", type=seeds_of, default=[0, 1, 2], metavar="N,N", help="a run of each recipe for each"
    )
    parser.add_argument("--resamples", type=count_of, default=1000, help="of the people, for the intervals")
    parser.add_argument("--report", action="store_true", help="only make the tables and the plot of what is there")
    parser.add_argument("--plan", action="store_true", help="only print the commands")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser.parse_args(arguments)


def seeds_of(text: str) -> list[int]:
    """The seeds in "0,1,2"."""
    for seed in text.split(","):
        if not re.fullmatch("[0-9]{1,9}", seed.strip()):
            raise argparse.ArgumentTypeError(
                f"'{seed}' is no seed; write whole numbers from 0 on with commas between them, such as 0,1,2"
            )
    return list(dict.fromkeys(int(seed) for seed in text.split(",")))


def count_of(text: str) -> int:
    """A whole number from 1 on."""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of resamples; write a whole number from 1 on")
    return int(text)


def run_study(study: Study, preparation: list[Step], recipes: list[Recipe], seeds: list[int]) -> list[str]:
    """Run what is not finished; what failed, a line each. A failed method does not keep the others from running."""
    journal = Journal(study.folder)
    for step in preparation:
        run_once(journal, step, study.say)
    test = make_test_set(study.folder, study.test, study.pairs)
    # Done here and not by a command: the words only tell whether the teacher is the one that was judged before.
    teacher = Step(TEACHER_JUDGED, ("eval", study.teacher))
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
