"""Train a margin-softmax model: a teacher, or the student that everything distilled is measured against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from facedistill.checkpoint import BackboneSpec
from facedistill.data.batches.sampling import ShuffledSampler, shards_of
from facedistill.data.dataset import FaceDataset
from facedistill.heads import HEADS
from facedistill.models import default_embedding_size
from facedistill.preprocessing import Preprocessing
from facedistill.training.listeners import Listeners, Record
from facedistill.training.loop import Training, fit
from facedistill.training.objective import Classification
from facedistill.training.options import TrainingOptions
from facedistill.training.preparation import check_training_data, describe_run, make_backbone, require_same_run
from facedistill.training.run_folder import RunFolder


class TeacherOptions(TrainingOptions):
    """Options of a classification run."""

    model: str = "iresnet50"
    head: str = "arcface"
    embedding_size: int | None = Field(default=None, ge=1)
    width: float | None = Field(default=None, gt=0)
    input_size: int = Field(default=112, ge=32)
    scale: float | None = Field(default=None, gt=0)
    margin: float | None = Field(default=None, ge=0)


def train_teacher(
    dataset: FaceDataset,
    run: RunFolder,
    options: TeacherOptions,
    *,
    init: Path | None = None,
    resume: bool = False,
    listeners: Listeners | None = None,
) -> list[Record]:
    """Train `options.model` with `options.head` on the identities of `dataset`; one record an epoch.

    Args:
        dataset: the faces; at least two identities.
        run: where the results go.
        options: the network, the head and how they are trained.
        init: a checkpoint whose backbone the training starts from.
        resume: go on from the run's last epoch.
        listeners: who is told how it goes.

    Raises:
        UsageError: an unknown backbone or head, or a resumed run that was started otherwise.
        DataError: the data set cannot be trained on.
        ModelFileError: `init` cannot be loaded or is another network.
        TrainingError: the loss is no longer finite.
    """
    listeners = Listeners() if listeners is None else listeners
    torch.manual_seed(options.seed)
    backbone, spec, preprocessing = make_backbone(
        init,
        name=options.model,
        width=options.width,
        embedding_size=options.embedding_size,
        fresh=BackboneSpec(options.model, default_embedding_size(options.model)),
        preprocessing=Preprocessing(size=options.input_size),
    )
    check_training_data(dataset, preprocessing, note=listeners.note)
    head = HEADS[options.head](spec.embedding_size, len(dataset.identities), scale=options.scale, margin=options.margin)
    config: dict[str, Any] = describe_run("train-teacher", options, dataset, spec, preprocessing, init)
    if resume:
        require_same_run(run, config)
    else:
        run.write_config(config)
    training = Training(
        backbone=backbone,
        spec=spec,
        preprocessing=preprocessing,
        objective=Classification(head),
        dataset=dataset,
        sampler=ShuffledSampler(len(dataset), options.batch_size, seed=options.seed, shards=shards_of(dataset)),
        options=options,
        run=run,
        provenance=config,
        listeners=listeners,
    )
    return fit(training, resume=resume)
