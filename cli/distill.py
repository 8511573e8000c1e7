"""`facedistill distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o

METHOD = "Method"
TEACHER = "Teacher"


def distill(
    data: o.Data,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    teacher: Annotated[
        Path | None,
        typer.Option(metavar="T", help="A run, a checkpoint, an ONNX file, or a cache of embeddings of DATA."),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Backbone; see facedistill models (mobilefacenet, or that of --init).")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Multiplier of the channels (1, or that of --init).")] = None,
    embedding_size: o.EmbeddingSize = None,
    input_size: Annotated[int, typer.Option(help="Side of the student's input in pixels.")] = 112,
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
        str | None, typer.Option(help="Colour order of a foreign ONNX teacher: rgb or bgr.", rich_help_panel=TEACHER)
    ] = None,
    teacher_mean: Annotated[
        float | None, typer.Option(help="Mean of a foreign ONNX teacher, 0..255 scale.", rich_help_panel=TEACHER)
    ] = None,
    teacher_std: Annotated[
        float | None,
        typer.Option(help="Standard deviation of a foreign ONNX teacher, 0..255 scale.", rich_help_panel=TEACHER),
    ] = None,
    init: o.Init = None,
    identities: o.Identities = None,
    exclude: o.Exclude = None,
    epochs: o.Epochs = 20,
    batch_size: o.BatchSize = 128,
    lr: o.Lr = 0.1,
    optimizer: o.Optimizer = "sgd",
    weight_decay: o.WeightDecay = 5e-4,
    warmup_epochs: o.WarmupEpochs = 1.0,
    mirror: o.Mirror = True,
    augment_crop: o.AugmentCrop = 0.0,
    augment_occlusion: o.AugmentOcclusion = 0.0,
    augment_photometric: o.AugmentPhotometric = 0.0,
    augment_low_resolution: o.AugmentLowResolution = 0.0,
    augment_jpeg: o.AugmentJpeg = 0.0,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    precision: o.Precision = "32",
    workers: o.Workers = None,
    max_corrupt: o.MaxCorrupt = 0.01,
    pairs: o.Pairs = None,
    images: o.Images = None,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Train a compact student to follow a teacher."""
    arguments = dict(locals())
    from facedistill.embedders.cache import EmbeddingCache, is_cache, load_cache
    from facedistill.embedders.embedder import Embedder
    from facedistill.embedders.load import load_embedder
    from facedistill.training.distill import DistillOptions
    from facedistill.training.distill import distill as train
    from facedistill.training.listeners import Listeners
    from facedistill.training.options import select_options
    from facedistill.training.run_folder import RunFolder

    from .console import note, progress, say, write_json
    from .training import epoch_line, follower, open_benchmark, open_training_data, print_run

    options = select_options(DistillOptions, arguments)
    teacher_model: EmbeddingCache | Embedder | None = None
    if teacher is not None and is_cache(teacher):
        teacher_model = load_cache(teacher)
    elif teacher is not None:
        teacher_model = load_embedder(
            teacher, device=device, color=teacher_color, mean=teacher_mean, std=teacher_std, note=note
        )
    dataset = open_training_data(data, identities, exclude, quiet=quiet)
    follow = follower(open_benchmark(dataset, pairs, images))
    run = RunFolder(out, overwrite=overwrite, resume=resume)
    with (
        progress("teacher", quiet=quiet) as on_embedded,
        progress("distilling", unit="steps", quiet=quiet) as on_step,
    ):
        records = train(
            dataset,
            teacher_model,
            run,
            options,
            init=init,
            resume=resume,
            listeners=Listeners(
                follow=follow,
                teacher_progress=on_embedded,
                progress=on_step,
                on_epoch=lambda record: say(epoch_line(record, epochs), quiet=quiet),
                note=note,
            ),
        )
    print_run(out, records, quiet=quiet)
    write_json(json_file, {"run": str(out), "epochs": records})
