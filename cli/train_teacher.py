"""`facedistill train-teacher`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .training_options import TrainingArguments, with_training_options


@with_training_options
def train_teacher(
    data: o.Data,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    model: Annotated[
        str | None, typer.Option(help="Backbone; see facedistill models (iresnet50, or that of --init).")
    ] = None,
    head: Annotated[str, typer.Option(help="Margin head; see facedistill heads.")] = "arcface",
    width: Annotated[float | None, typer.Option(help="Multiplier of the channels (1, or that of --init).")] = None,
    embedding_size: o.EmbeddingSize = None,
    input_size: o.InputSize = None,
    scale: Annotated[float | None, typer.Option(help="Scale s of the head; its published one unless given.")] = None,
    margin: Annotated[float | None, typer.Option(help="Margin m of the head; its published one unless given.")] = None,
    partial_fc: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Spread the class centres over the processes, and train this share of them in a step (1: all).",
        ),
    ] = None,
    *,
    shared: TrainingArguments,
) -> None:
    """Train a margin-softmax model on aligned faces: a teacher, or an undistilled student."""
    arguments = dict(locals()) | shared.to_dict()
    from facedistill.training.options import select_options
    from facedistill.training.train_teacher import TeacherOptions, prepare_teacher

    from .training import inputs_of, listeners_of, open_run, train

    options = select_options(TeacherOptions, arguments)
    dataset, follow, run = open_run(data, out, shared)
    with listeners_of(shared, options.epochs, follow) as listeners:
        training = prepare_teacher(
            dataset, run, options, init=shared.init, inputs=inputs_of(arguments), listeners=listeners
        )
        train(training, shared)
