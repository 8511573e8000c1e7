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
        Path | None,
        typer.Option(
            metavar="T", help="A run, checkpoint, published weights, ONNX file, or a cache of embeddings of DATA."
        ),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Backbone; see facedistill models (mobilefacenet, or that of --init).")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Multiplier of the channels (1, or that of --init).")] = None,
    embedding_size: o.EmbeddingSize = None,
    input_size: o.InputSize = None,
    method: Annotated[
        str, typer.Option(help="See facedistill methods.", rich_help_panel=METHOD)
    ] = "triplet-distillation",
    margin_min: Annotated[
        float, typer.Option(help="triplet-distillation: lowest margin.", rich_help_panel=METHOD)
    ] = 0.2,
    margin_max: Annotated[
        float, typer.Option(help="triplet-distillation: highest margin.", rich_help_panel=METHOD)
    ] = 0.5,
    margin: Annotated[float, typer.Option(help="triplet: the fixed margin.", rich_help_panel=METHOD)] = 0.35,
    alpha: Annotated[float, typer.Option(help="Width of the semi-hard band.", rich_help_panel=METHOD)] = 0.35,
    distance: Annotated[
        str, typer.Option(help="Distance of the triplets: squared-l2 or angle.", rich_help_panel=METHOD)
    ] = "squared-l2",
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
    *,
    shared: TrainingArguments,
) -> None:
    """Train a compact student to follow a teacher."""
    arguments = dict(locals()) | shared.to_dict()
    from facedistill.embedders.cache import EmbeddingCache, is_cache, load_cache
    from facedistill.embedders.embedder import Embedder
    from facedistill.embedders.load import load_embedder
    from facedistill.training.distill import DistillOptions, prepare_distillation
    from facedistill.training.options import select_options

    from .console import note
    from .training import inputs_of, listeners_of, open_run, train

    options = select_options(DistillOptions, arguments)
    teacher_model: EmbeddingCache | Embedder | None = None
    if teacher is not None and is_cache(teacher):
        teacher_model = load_cache(teacher)
    elif teacher is not None:
        teacher_model = load_embedder(
            teacher, device=shared.device, color=teacher_color, mean=teacher_mean, std=teacher_std, note=note
        )
    dataset, follow, run = open_run(data, out, shared)
    with listeners_of(shared, options.epochs, follow) as listeners:
        training = prepare_distillation(
            dataset, teacher_model, run, options, init=shared.init, inputs=inputs_of(arguments), listeners=listeners
        )
        train(training, shared)
