"""Train a margin-softmax model: a teacher, or the student that everything distilled is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from facedistill.checkpoint import BackboneSpec
from facedistill.data.batches.sampling import ShuffledSampler, shards_of
from facedistill.data.dataset import FaceDataset
from facedistill.errors import UsageError
from facedistill.heads import make_head
from facedistill.models import default_embedding_size
from facedistill.ranks import rank, ranks
from facedistill.training.listeners import Listeners, Record
from facedistill.training.loop import fit
from facedistill.training.objective import Classification
from facedistill.training.options import TrainingOptions
from facedistill.training.preparation import (
    batch_of_process,
    check_training_data,
    describe_run,
    make_backbone,
    require_same_run,
)
from facedistill.training.processes import join_processes
from facedistill.training.run_folder import RunFolder
from facedistill.training.training import Training


class TeacherOptions(TrainingOptions):
    """Options of a classification run."""

    model: str | None = None
    head: str = "arcface"
    embedding_size: int | None = Field(default=None, ge=1)
    width: float | None = Field(default=None, gt=0)
    input_size: int | None = Field(default=None, ge=32)
    scale: float | None = Field(default=None, gt=0)
    margin: float | None = Field(default=None, ge=0)
    partial_fc: float | None = Field(default=None, gt=0, le=1)


def train_teacher(
    dataset: FaceDataset,
    run: RunFolder,
    options: TeacherOptions,
    *,
    init: Path | None = None,
    inputs: Mapping[str, Any] | None = None,
    listeners: Listeners | None = None,
) -> list[Record]:
    """Train `options.model` with `options.head`; the records of the run. See `prepare_teacher` and `fit`."""
    return fit(prepare_teacher(dataset, run, options, init=init, inputs=inputs, listeners=listeners))


def prepare_teacher(
    dataset: FaceDataset,
    run: RunFolder,
    options: TeacherOptions,
    *,
    init: Path | None = None,
    inputs: Mapping[str, Any] | None = None,
    listeners: Listeners | None = None,
) -> Training:
    """All that the training of `options.model` with `options.head` on the identities of `dataset` consists of.

    Args:
        dataset: the faces; at least two identities.
        run: where the results go, and what is gone on with where it is resumed.
        options: the network, the head and how they are trained.
        init: a checkpoint whose backbone the training starts from.
        inputs: the command's other arguments, such as the paths of the data, which `config.yaml` repeats.
        listeners: who is told how it goes.

    Raises:
        UsageError: an unknown backbone or head, or a resumed run that was started otherwise.
        DataError: the data set cannot be trained on.
        ModelFileError: `init` cannot be loaded or is another network.
    """
    listeners = Listeners() if listeners is None else listeners
    fabric = join_processes(options.device, options.precision)
    run.agree()
    note = listeners.of_process(first=rank() == 0).note
    torch.manual_seed(options.seed)
    backbone, spec, preprocessing = make_backbone(
        init,
        name=options.model,
        width=options.width,
        embedding_size=options.embedding_size,
        fresh=BackboneSpec("iresnet50", default_embedding_size(options.model or "iresnet50")),
        input_size=options.input_size,
        init_color=options.init_color,
        note=note,
    )
    check_training_data(dataset, preprocessing, note=note)
    if options.partial_fc is not None and options.partial_fc < 1 and options.accumulate > 1:
        raise UsageError(
            "--partial-fc below 1 chooses its classes for one batch, and --accumulate makes a step of several",
            next_step="Leave one of them out",
        )
    head = make_head(
        options.head,
        spec.embedding_size,
        len(dataset.identities),
        scale=options.scale,
        margin=options.margin,
        sample_rate=options.partial_fc,
    )
    sampler = ShuffledSampler(
        len(dataset),
        batch_of_process(options, len(dataset)),
        seed=options.seed,
        shards=shards_of(dataset),
        rank=rank(),
        ranks=ranks(),
    )
    config = describe_run("train-teacher", options, dataset, spec, preprocessing, init=init, inputs=inputs)
    if run.resumed:
        require_same_run(run, config)
    return Training(
        fabric=fabric,
        backbone=backbone,
        spec=spec,
        preprocessing=preprocessing,
        objective=Classification(head),
        dataset=dataset,
        sampler=sampler,
        options=options,
        run=run,
        config=config,
        listeners=listeners,
    )
