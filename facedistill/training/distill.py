"""Train a compact student to follow a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from facedistill.checkpoint import BackboneSpec
from facedistill.data.batches.lookalikes import lookalike_graph
from facedistill.data.batches.sampling import IdentitySampler, Sampler, ShuffledSampler, shards_of
from facedistill.data.dataset import FaceDataset
from facedistill.distill.method import Needs, Setting
from facedistill.embedders.cached_rows import TeacherRows
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.load import choose_device
from facedistill.embedders.load_teacher import Teacher
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.heads import MarginHead
from facedistill.models.features import FeatureTap
from facedistill.preprocessing import Preprocessing
from facedistill.ranks import rank, ranks
from facedistill.training.distill_checks import check_batches, check_sizes, check_teacher, needs_of
from facedistill.training.distill_options import DistillOptions
from facedistill.training.listeners import Listeners, Record
from facedistill.training.loop import fit
from facedistill.training.objective import Distillation
from facedistill.training.preparation import (
    batch_of_process,
    check_training_data,
    describe_run,
    make_backbone,
    require_same_run,
)
from facedistill.training.processes import join_processes
from facedistill.training.run_folder import RunFolder
from facedistill.training.teacher_rows import (
    centres_of_teacher,
    check_live_teacher,
    describe_teacher,
    learned_centres,
    teacher_rows,
)
from facedistill.training.teaching import CachedTeaching, LiveTeaching, Teaching
from facedistill.training.training import Training


def distill(
    dataset: FaceDataset,
    teacher: Teacher | None,
    run: RunFolder,
    options: DistillOptions,
    *,
    teacher_run: Path | None = None,
    init: Path | None = None,
    inputs: Mapping[str, Any] | None = None,
    listeners: Listeners | None = None,
) -> list[Record]:
    """Train a student by `options.terms`; the records of the run. See `prepare_distillation` and `fit`."""
    return fit(
        prepare_distillation(
            dataset, teacher, run, options, teacher_run=teacher_run, init=init, inputs=inputs, listeners=listeners
        )
    )


def prepare_distillation(
    dataset: FaceDataset,
    teacher: Teacher | None,
    run: RunFolder,
    options: DistillOptions,
    *,
    teacher_run: Path | None = None,
    init: Path | None = None,
    inputs: Mapping[str, Any] | None = None,
    listeners: Listeners | None = None,
) -> Training:
    """All that the training of a student by `options.terms` consists of.

    Unless `options.live`, the teacher embeds every crop and its mirror image once, before the first step, so that its
    size limits neither the batch nor the speed. It is frozen by construction.

    Args:
        dataset: the faces to distil on.
        teacher: a model, or a cache of its embeddings; None where the methods need no teacher.
        run: where the results go, and what is gone on with where it is resumed.
        options: the student, the methods and how it is trained.
        teacher_run: the folder of the run that trained the teacher, whose head may give the class centres.
        init: a checkpoint that the student starts from; the published procedure trains it with a margin head first.
        inputs: the command's other arguments, such as the paths of the data, which `config.yaml` repeats.
        listeners: who is told how it goes.

    Raises:
        UsageError: an unknown student or method, or sizes or a teacher that the methods cannot work with.
        DataError: the data set cannot be trained on, or the teacher tells no two of its faces apart.
        ModelFileError: `init` cannot be loaded or is another network.
    """
    listeners = Listeners() if listeners is None else listeners
    fabric = join_processes(options.device, options.precision)
    run.agree()
    first = listeners.of_process(first=rank() == 0)
    note = first.note
    torch.manual_seed(options.seed)
    terms = options.terms
    needs = needs_of(terms)
    check_teacher(teacher, terms, options, note=note)
    backbone, spec, preprocessing = make_backbone(
        init,
        name=options.student,
        width=options.width,
        embedding_size=options.embedding_size,
        fresh=BackboneSpec("mobilefacenet", 128 if teacher is None else teacher.embedding_size),
        input_size=options.input_size,
        init_color=options.init_color,
        note=note,
    )
    check_sizes(terms, spec.embedding_size, teacher)
    check_training_data(dataset, preprocessing, note=note)
    batch_size = batch_of_process(options, len(dataset))
    check_batches(terms, options, batch_size, teacher)
    config = describe_run("distill", options, dataset, spec, preprocessing, init=init, inputs=inputs)
    if teacher is not None and (needs.teacher or options.lookalikes > 1):
        config["run"]["teacher"] = describe_teacher(teacher)
    learned = None
    if needs.centres and teacher is not None and teacher_run is not None:
        learned = learned_centres(teacher_run, dataset, teacher.embedding_size)
    if needs.centres:
        config["run"]["class_centres"] = (
            "the mean embeddings of each person" if learned is None else "the teacher's head"
        )
    if run.resumed:
        # Before the teacher's pass over the data, which may take longer than anybody waits for a refusal.
        require_same_run(run, config)
    taught = prepare_teaching(teacher, needs, dataset, options, learned, first)
    sampler = make_sampler(dataset, needs, options, batch_size, taught.rows)
    setting = Setting(
        student_size=spec.embedding_size,
        teacher_size=0 if teacher is None else teacher.embedding_size,
        identities=len(dataset.identities),
        batches_per_epoch=len(sampler.batches(0)),
        centres=taught.centres,
        rows=taught.rows if needs.rows else None,
        **(feature_facts(backbone, preprocessing, teacher) if needs.features else {}),
    )
    objective = Distillation(terms, setting)
    if init is not None and init.is_dir():
        go_on_with_classifier(objective, init, dataset, spec.embedding_size, note=note)
    return Training(
        fabric=fabric,
        backbone=backbone,
        spec=spec,
        preprocessing=preprocessing,
        objective=objective,
        dataset=dataset,
        sampler=sampler,
        options=options,
        run=run,
        teacher=taught.teaching,
        config=config,
        listeners=listeners,
    )


class Taught(NamedTuple):
    """What a run has of its teacher.

    Attributes:
        rows: its embeddings of the whole data set, None where nobody needs them.
        centres: (C, T) float32 its class centres, None likewise.
        teaching: what the loop asks for the teacher's view of a batch, None where no term needs a teacher.
    """

    rows: TeacherRows | None
    centres: torch.Tensor | None
    teaching: Teaching | None


def prepare_teaching(
    teacher: Teacher | None,
    needs: Needs,
    dataset: FaceDataset,
    options: DistillOptions,
    learned: torch.Tensor | None,
    listeners: Listeners,
) -> Taught:
    """Have the teacher embed the data where that is needed, and decide how it teaches.

    Args:
        teacher: None without one.
        needs: of all terms.
        dataset: the faces.
        options: whether the teacher looks live, and how batches are made.
        learned: the class centres of the teacher's own head, where it has one for these data.
        listeners: who is told.
    """
    live = options.live or needs.features
    by_lookalikes = options.lookalikes > 1
    if needs.features and not options.live and listeners.note:
        listeners.note("feature maps are in no cache; the teacher looks at every view of the student's")
    rows = centres = None
    teaching: Teaching | None = None
    asked_for = needs.teacher and (not live or needs.centres or needs.rows)
    if teacher is not None and (asked_for or by_lookalikes):
        rows = teacher_rows(teacher, dataset, options, note=listeners.note, progress=listeners.teacher_progress)
    if needs.centres and rows is not None:
        centres = centres_of_teacher(rows, dataset, learned, note=listeners.note)
    if needs.teacher and live and isinstance(teacher, Embedder):
        check_live_teacher(teacher, dataset)
        teaching = LiveTeaching(teacher, features=needs.features)
    elif needs.teacher and rows is not None:
        teaching = CachedTeaching(rows)
    return Taught(rows, centres, teaching)


def go_on_with_classifier(
    objective: Distillation, init: Path, dataset: FaceDataset, size: int, *, note: Callable[[str], None] | None
) -> None:
    """Give the terms that have a classifier of the student's own the one that it was trained with before, if any.

    A fresh one would first turn the student's embedding away from what it has learned.
    """
    heads = [
        head for method in objective.methods.values() if isinstance(head := getattr(method, "head", None), MarginHead)
    ]
    centres = learned_centres(init, dataset, size) if heads else None
    for head in heads:
        if centres is not None and head.centres.shape == centres.shape:
            with torch.no_grad():
                head.centres.copy_(centres)
            if note:
                note(f"the student goes on with the classifier of {init}")


def feature_facts(backbone: nn.Module, preprocessing: Preprocessing, teacher: Teacher | None) -> dict[str, Any]:
    """The shapes of both networks' features, and the teacher's network, as fields of `Setting`."""
    if not isinstance(teacher, TorchEmbedder):
        raise TypeError("only a torch teacher has features")
    return {
        "student_features": shape_of_features(backbone, preprocessing.size),
        "teacher_features": shape_of_features(teacher.backbone, teacher.preprocessing.size),
        "teacher_backbone": teacher.backbone,
    }


def shape_of_features(backbone: nn.Module, input_size: int) -> tuple[int, ...]:
    """The shape of one image's features."""
    tap = FeatureTap(backbone)
    try:
        return tap.shape_of(input_size)
    finally:
        tap.remove()


def make_sampler(
    dataset: FaceDataset, needs: Needs, options: DistillOptions, batch_size: int, teacher: TeacherRows | None
) -> Sampler:
    """This process's batches: of several images a person where the method needs them, people alike if asked for."""
    if not needs.several_images_per_identity:
        return ShuffledSampler(
            len(dataset), batch_size, seed=options.seed, shards=shards_of(dataset), rank=rank(), ranks=ranks()
        )
    graph = None
    if options.lookalikes > 1 and teacher is not None:
        # What the teacher could not read has no place in anybody's centre.
        seen = np.nan_to_num(np.concatenate([original for _, original, _ in teacher.pieces()]))
        graph = lookalike_graph(seen, dataset.labels, bunch=options.lookalikes, device=choose_device(options.device))
    return IdentitySampler(
        dataset.labels,
        batch_size,
        options.images_per_identity,
        seed=options.seed,
        graph=graph,
        rank=rank(),
        ranks=ranks(),
    )
