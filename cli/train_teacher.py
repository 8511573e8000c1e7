"""`facedistill train-teacher`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o


def train_teacher(
    data: o.Data,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    model: Annotated[str, typer.Option(help="Backbone; see facedistill models.")] = "iresnet50",
    head: Annotated[str, typer.Option(help="Margin head; see facedistill heads.")] = "arcface",
    width: Annotated[float | None, typer.Option(help="Multiplier of the channels (1 unless given).")] = None,
    embedding_size: o.EmbeddingSize = None,
    input_size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 112,
    scale: Annotated[float | None, typer.Option(help="Scale s of the head; its published one unless given.")] = None,
    margin: Annotated[float | None, typer.Option(help="Margin m of the head; its published one unless given.")] = None,
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
    """Train a margin-softmax model on a folder of aligned faces: a teacher, or an undistilled student."""
    arguments = dict(locals())
    from facedistill.training.listeners import Listeners
    from facedistill.training.options import select_options
    from facedistill.training.run_folder import RunFolder
    from facedistill.training.train_teacher import TeacherOptions
    from facedistill.training.train_teacher import train_teacher as train

    from .console import note, progress, say, write_json
    from .training import epoch_line, follower, open_benchmark, open_training_data, print_run

    options = select_options(TeacherOptions, arguments)
    dataset = open_training_data(data, identities, exclude, quiet=quiet)
    follow = follower(open_benchmark(dataset, pairs, images))
    run = RunFolder(out, overwrite=overwrite, resume=resume)
    with progress("training", unit="steps", quiet=quiet) as on_step:
        records = train(
            dataset,
            run,
            options,
            init=init,
            resume=resume,
            listeners=Listeners(
                follow=follow,
                progress=on_step,
                on_epoch=lambda record: say(epoch_line(record, epochs), quiet=quiet),
                note=note,
            ),
        )
    print_run(out, records, quiet=quiet)
    write_json(json_file, {"run": str(out), "epochs": records})
