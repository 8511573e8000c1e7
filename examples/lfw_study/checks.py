"""Whether the commands will be accepted, asked before the first of hours of work."""

from __future__ import annotations

import itertools
from typing import Any

from plan import Study, all_steps, method_step, start_step
from recipes import START, Recipe
from steps import Journal, Step
from words import understand

from facedistill.errors import UsageError
from facedistill.heads.margin import HEADS
from facedistill.models.registry import BACKBONES
from facedistill.training.distill_checks import check_batches, check_teacher
from facedistill.training.distill_options import DistillOptions
from facedistill.training.options import TrainingOptions, select_options
from facedistill.training.schedule import make_schedule
from facedistill.training.train_teacher import TeacherOptions


def check_all(study: Study, preparation: list[Step], recipes: list[Recipe], seeds: list[int]) -> None:
    """UsageError for what a command would refuse, a finished run of another recipe, or a missing start."""
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
    for step in preparation:
        check_step(step, f"step {step.name}")
    for seed in seeds:
        if any(recipe.start == START for recipe in recipes):
            check_step(start_step(study, seed), "section 'start'")
        for recipe in recipes:
            check_step(method_step(study, recipe, seed), f"recipe {recipe.name}", cached=recipe.teacher == "cache")
    for step in all_steps(study, preparation, recipes, seeds):
        journal.is_done(step)


def check_step(step: Step, source: str, *, cached: bool = False) -> None:
    """UsageError where a command would refuse its options, the methods and theirs among them.

    Args:
        step: the command.
        source: where its options are from, to be named.
        cached: whether a method's teacher is a cache of embeddings.
    """
    try:
        given = understand([*step.words, *step.manner])
        if step.words[0] == "train-teacher":
            check_classification(given)
        elif step.words[0] == "distill":
            check_distillation(given, cached=cached)
    except UsageError as error:
        cause = error.cause if error.place is None else f"{error.place}: {error.cause}"
        raise UsageError(cause, place=source, next_step=error.next_step or "Look at the recipes") from error


def check_schedule(options: TrainingOptions) -> None:
    """UsageError for a schedule that cannot be; an epoch stands for a step, for the data are not there yet."""
    make_schedule(
        options.schedule,
        base=options.lr,
        total_steps=options.epochs,
        warmup_steps=0,
        steps_per_epoch=1,
        milestones=options.milestones,
    )


def check_classification(given: dict[str, Any]) -> None:
    """UsageError for a network, a head or an option with which `facedistill train-teacher` does not begin."""
    options = select_options(TeacherOptions, given)
    check_schedule(options)
    HEADS[options.head]
    if options.model is not None:
        BACKBONES[options.model]


def check_distillation(given: dict[str, Any], *, cached: bool) -> None:
    """UsageError for a method, an option of it or a teacher with which `facedistill distill` does not begin."""
    listed = {"set": tuple(given["set_option"] or ()), "plus": tuple(given["plus"] or ())}
    options = select_options(DistillOptions, given | listed)
    check_schedule(options)
    if options.student is not None:
        BACKBONES[options.student]
    terms = options.terms
    if not given["teacher"]:
        check_teacher(None, terms, options, note=None)
        check_batches(terms, options, options.batch_size, None)
    check_batches(terms, options.model_copy(update={"lookalikes": 1}), options.batch_size, None)
    for term in terms:
        if cached and term.needs.features:
            raise UsageError(
                f"the method {term.name} needs the teacher's feature maps, and a cache of embeddings has none",
                next_step="Write teacher: live in the recipe",
            )
    if options.lookalikes > 1 and not any(term.needs.several_images_per_identity for term in terms):
        raise UsageError(
            "lookalikes are of no use to its method, whose batches are shuffled", next_step="Leave them out"
        )
