"""`facedistill distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .training_options import TrainingArguments, with_training_options

METHOD = "Method"
TEACHER = "Teacher"


@with_training_options
def distill(
    data: o.Data,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="T",
            help="A run, checkpoint, published weights, ONNX file, or a cache of embeddings of DATA. Repeatable.",
        ),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Backbone; see facedistill models (mobilefacenet, or that of --init).")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Multiplier of the channels (1, or that of --init).")] = None,
    embedding_size: o.EmbeddingSize = None,
    input_size: o.InputSize = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME[:WEIGHT]",
            help="What the student is taught by: see facedistill methods.",
            rich_help_panel=METHOD,
        ),
    ] = "triplet-distillation",
    plus: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:WEIGHT]", help="Another term of the loss. Repeatable.", rich_help_panel=METHOD),
    ] = None,
    set_option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[NAME.]OPTION=VALUE",
            help="An option of a method, such as margin_max=1; facedistill methods NAME lists them. Repeatable.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    images_per_identity: Annotated[
        int, typer.Option(help="Images of one person in a batch.", rich_help_panel=METHOD)
    ] = 4,
    lookalikes: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Bring people that the teacher finds alike into a batch, N at a time; 1: at random.",
            rich_help_panel=METHOD,
        ),
    ] = 1,
    teacher_color: Annotated[
        str | None,
        typer.Option(help="Of published weights or a foreign ONNX file: rgb or bgr.", rich_help_panel=TEACHER),
    ] = None,
    teacher_mean: Annotated[
        float | None, typer.Option(help="Mean of such a teacher, 0..255 scale.", rich_help_panel=TEACHER)
    ] = None,
    teacher_std: Annotated[
        float | None,
        typer.Option(help="Standard deviation of such a teacher, 0..255 scale.", rich_help_panel=TEACHER),
    ] = None,
    teacher_weight: Annotated[
        list[float] | None,
        typer.Option(metavar="W", help="Of several teachers, the weight of each.", rich_help_panel=TEACHER),
    ] = None,
    teacher_combine: Annotated[
        str,
        typer.Option(
            metavar="concat|mean",
            help="Of several: put their embeddings beside one another, or average them (of one space).",
            rich_help_panel=TEACHER,
        ),
    ] = "concat",
    cache: Annotated[
        str,
        typer.Option(
            metavar="once|auto|DIR|off",
            help="Embed every crop before the first step; auto or a folder: and keep that for other runs; off: let the "
            "teacher look at every augmented view, which takes longer.",
            rich_help_panel=TEACHER,
        ),
    ] = "once",
    *,
    shared: TrainingArguments,
) -> None:
    """Train a compact student to follow a teacher, by one method or by several at once."""
    arguments = dict(locals()) | shared.to_dict()
    from facedistill.embedders.load_teacher import load_teacher
    from facedistill.training.distill import prepare_distillation
    from facedistill.training.distill_options import DistillOptions
    from facedistill.training.options import select_options

    from .console import note
    from .training import inputs_of, listeners_of, open_run, train

    arguments["set"], arguments["plus"] = set_option or (), plus or ()
    options = select_options(DistillOptions, arguments)
    taught_by = load_teacher(
        teacher or [],
        weights=teacher_weight or None,
        combine=teacher_combine,
        device=shared.device,
        color=teacher_color,
        mean=teacher_mean,
        std=teacher_std,
        note=note,
    )
    run_of_teacher = teacher[0] if teacher and len(teacher) == 1 and teacher[0].is_dir() else None
    dataset, follow, run = open_run(data, out, shared)
    with listeners_of(shared, options.epochs, follow) as listeners:
        training = prepare_distillation(
            dataset,
            taught_by,
            run,
            options,
            teacher_run=run_of_teacher,
            init=shared.init,
            inputs=inputs_of(arguments),
            listeners=listeners,
        )
        train(training, shared)
