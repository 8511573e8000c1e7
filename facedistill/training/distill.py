"""Train a compact student to follow a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from facedistill.checkpoint import BackboneSpec
from facedistill.data.batches.lookalikes import lookalike_graph
from facedistill.data.batches.sampling import IdentitySampler, Sampler, ShuffledSampler, shards_of
from facedistill.data.corrupt_images import CorruptImages
from facedistill.data.dataset import FaceDataset
from facedistill.distill import METHODS, MethodOptions
from facedistill.distill.method import Needs
from facedistill.embedders.cache import EmbeddingCache
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.load import choose_device
from facedistill.errors import DataError, UsageError
from facedistill.ranks import rank, ranks
from facedistill.training.listeners import Listeners, Record
from facedistill.training.loop import fit
from facedistill.training.objective import Distillation, TeacherEmbeddings
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


class DistillOptions(TrainingOptions):
    """Options of a distillation run."""

    student: str | None = None
    width: float | None = Field(default=None, gt=0)
    embedding_size: int | None = Field(default=None, ge=1)
    input_size: int | None = Field(default=None, ge=32)
    method: str = "triplet-distillation"
    margin_min: float = Field(default=0.2, ge=0)
    margin_max: float = Field(default=0.5, ge=0)
    margin: float = Field(default=0.35, ge=0)
    alpha: float = Field(default=0.35, gt=0)
    distance: str = "squared-l2"
    images_per_identity: int = Field(default=4, ge=2)
    lookalikes: int = Field(default=1, ge=1)


def distill(
    dataset: FaceDataset,
    teacher: Embedder | EmbeddingCache | None,
    run: RunFolder,
    options: DistillOptions,
    *,
    init: Path | None = None,
    inputs: Mapping[str, Any] | None = None,
    listeners: Listeners | None = None,
) -> list[Record]:
    """Train a student by `options.method`; the records of the run. See `prepare_distillation` and `fit`."""
    return fit(prepare_distillation(dataset, teacher, run, options, init=init, inputs=inputs, listeners=listeners))


def prepare_distillation(
    dataset: FaceDataset,
    teacher: Embedder | EmbeddingCache | None,
    run: RunFolder,
    options: DistillOptions,
    *,
    init: Path | None = None,
    inputs: Mapping[str, Any] | None = None,
    listeners: Listeners | None = None,
) -> Training:
    """All that the training of a student by `options.method` consists of.

    The teacher embeds every crop and its mirror image once, before the first step, so that its size limits neither
    the batch nor the speed; it is frozen by construction.

    Args:
        dataset: the faces to distil on.
        teacher: a model, or a cache of its embeddings; None where the method needs no teacher.
        run: where the results go, and what is gone on with where it is resumed.
        options: the student, the method and how it is trained.
        init: a checkpoint that the student starts from; the published procedure trains it with a margin head first.
        inputs: the command's other arguments, such as the paths of the data, which `config.yaml` repeats.
        listeners: who is told how it goes.

    Raises:
        UsageError: an unknown student or method, or sizes that the method cannot work with.
        DataError: the data set cannot be trained on, or the teacher tells no two of its faces apart.
        ModelFileError: `init` cannot be loaded or is another network.
    """
    listeners = Listeners() if listeners is None else listeners
    fabric = join_processes(options.device, options.precision)
    run.agree()
    note = listeners.of_process(first=rank() == 0).note
    torch.manual_seed(options.seed)
    method_options = MethodOptions(**{name: getattr(options, name) for name in MethodOptions.__dataclass_fields__})
    method = METHODS[options.method](method_options)
    if teacher is not None and not method.needs.teacher and note:
        used = "the embedding size" if options.lookalikes == 1 else "the embedding size and the choice of batches"
        note(f"the method {options.method} needs no teacher; of this one only {used} is used")
    if method.needs.teacher and teacher is None:
        raise UsageError(f"the method {options.method} needs a teacher", next_step="Give one with --teacher")
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
    if method.needs.equal_sizes and teacher is not None and spec.embedding_size != teacher.embedding_size:
        raise UsageError(
            f"the method {options.method} compares embeddings directly, and the student's have "
            f"{spec.embedding_size} dimensions, the teacher's {teacher.embedding_size}",
            next_step="Leave --embedding-size out, or use a method that compares distances",
        )
    check_training_data(dataset, preprocessing, note=note)
    batch_size = batch_of_process(options, len(dataset))
    if method.needs.several_images_per_identity and batch_size < 2 * options.images_per_identity:
        raise UsageError(
            f"a batch of {batch_size} has no room for two people with {options.images_per_identity} images each",
            next_step="Raise --batch-size, or lower --images-per-identity",
        )
    by_lookalikes = options.lookalikes > 1
    if by_lookalikes and not method.needs.several_images_per_identity:
        raise UsageError(
            f"--lookalikes has no use for the method {options.method}, whose batches are shuffled",
            next_step="Leave it out, or use a method with triplets",
        )
    if by_lookalikes and teacher is None:
        raise UsageError("--lookalikes is by a teacher's eyes, and there is none", next_step="Give one with --teacher")
    config = describe_run("distill", options, dataset, spec, preprocessing, init=init, inputs=inputs)
    taught_by = teacher if method.needs.teacher or by_lookalikes else None
    if taught_by is not None:
        config["run"]["teacher"] = describe_teacher(taught_by)
    if run.resumed:
        # Before the teacher's pass over the data, which may take longer than anybody waits for a refusal.
        require_same_run(run, config)
    embeddings = None
    if taught_by is not None:
        corrupt = CorruptImages(len(dataset), options.max_corrupt)  # the loader, which meets them again, lists them
        embeddings = embed_with_teacher(
            taught_by, dataset, corrupt, progress=listeners.of_process(first=rank() == 0).teacher_progress
        )
    return Training(
        fabric=fabric,
        backbone=backbone,
        spec=spec,
        preprocessing=preprocessing,
        objective=Distillation(method),
        dataset=dataset,
        sampler=make_sampler(dataset, method.needs, options, batch_size, embeddings),
        options=options,
        run=run,
        teacher=embeddings if method.needs.teacher else None,
        config=config,
        listeners=listeners,
    )


def make_sampler(
    dataset: FaceDataset, needs: Needs, options: DistillOptions, batch_size: int, teacher: TeacherEmbeddings | None
) -> Sampler:
    """This process's batches: of several images a person where the method needs them, people alike if asked for."""
    if not needs.several_images_per_identity:
        return ShuffledSampler(
            len(dataset), batch_size, seed=options.seed, shards=shards_of(dataset), rank=rank(), ranks=ranks()
        )
    graph = None
    if options.lookalikes > 1 and teacher is not None:
        # What the teacher could not read has no place in anybody's centre.
        seen = np.nan_to_num(teacher.original)
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


def describe_teacher(teacher: Embedder | EmbeddingCache) -> dict[str, Any]:
    """Name, fingerprint and preprocessing of the teacher, for the run's provenance."""
    if isinstance(teacher, EmbeddingCache):
        name, fingerprint, cached = teacher.model, teacher.model_fingerprint, True
    else:
        name, fingerprint, cached = teacher.name, teacher.fingerprint, False
    return {
        "name": name,
        "fingerprint": fingerprint,
        "embedding_size": teacher.embedding_size,
        "preprocessing": teacher.preprocessing.to_dict(),
        "cached": cached,
    }


def embed_with_teacher(
    teacher: Embedder | EmbeddingCache,
    dataset: FaceDataset,
    corrupt: CorruptImages,
    *,
    progress: Callable[[int, int], None] | None,
) -> TeacherEmbeddings:
    """The teacher's embeddings of all crops and their mirror images.

    Raises:
        DataError: too many images are corrupt; or all embeddings are nearly the same and can teach nothing (a wrong
            preprocessing, or weights that were never trained).
    """
    if isinstance(teacher, EmbeddingCache):
        embedded = teacher.of(dataset)
    else:
        # The loader will replace these, so that nobody looks up their embeddings.
        embedded = embed_dataset(
            teacher,
            dataset,
            progress=progress,
            on_corrupt=lambda key, error: corrupt.add({key: error.cause}),
            shared=True,
        )
    assert embedded.mirrored is not None  # noqa: S101 - asked for above, and a cache always holds them
    seen = embedded.original[np.isfinite(embedded.original).all(axis=1)]
    if not len(seen):
        raise DataError("not one image of the data set could be decoded", next_step="Check the folder of crops")
    unit = seen / (1e-12 + (seen**2).sum(axis=1, keepdims=True) ** 0.5)
    mean_cosine = float((unit.mean(axis=0) ** 2).sum())
    if mean_cosine > 0.98:
        raise DataError(
            f"the teacher gives nearly the same embedding for every face (mean cosine {mean_cosine:.3f})",
            next_step="Check its weights and its --teacher-color, --teacher-mean and --teacher-std",
        )
    return TeacherEmbeddings(embedded.original, embedded.mirrored, dataset.key)
