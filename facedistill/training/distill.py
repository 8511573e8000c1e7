"""Train a compact student to follow a teacher."""

from __future__ import annotations

from collections.abc import Callable
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
from facedistill.preprocessing import Preprocessing
from facedistill.training.listeners import Listeners, Record
from facedistill.training.loop import Training, fit
from facedistill.training.objective import Distillation, TeacherEmbeddings
from facedistill.training.options import TrainingOptions
from facedistill.training.preparation import check_training_data, describe_run, make_backbone, require_same_run
from facedistill.training.run_folder import RunFolder


class DistillOptions(TrainingOptions):
    """Options of a distillation run."""

    student: str | None = None
    width: float | None = Field(default=None, gt=0)
    embedding_size: int | None = Field(default=None, ge=1)
    input_size: int = Field(default=112, ge=32)
    method: str = "triplet-distillation"
    margin_min: float = Field(default=0.2, ge=0)
    margin_max: float = Field(default=0.5, ge=0)
    margin: float = Field(default=0.35, ge=0)
    alpha: float = Field(default=0.35, gt=0)
    distance: str = "squared-l2"
    lookalikes: int = Field(default=1, ge=1)


def distill(
    dataset: FaceDataset,
    teacher: Embedder | EmbeddingCache | None,
    run: RunFolder,
    options: DistillOptions,
    *,
    init: Path | None = None,
    resume: bool = False,
    listeners: Listeners | None = None,
) -> list[Record]:
    """Train a student by `options.method`; one record an epoch.

    The teacher embeds every crop and its mirror image once, before the first step, so that its size limits neither
    the batch nor the speed; it is frozen by construction.

    Args:
        dataset: the faces to distil on.
        teacher: a model, or a cache of its embeddings; None where the method needs no teacher.
        run: where the results go.
        options: the student, the method and how it is trained.
        init: a checkpoint that the student starts from; the published procedure trains it with a margin head first.
        resume: go on from the run's last epoch.
        listeners: who is told how it goes.

    Raises:
        UsageError: an unknown student or method, or sizes that the method cannot work with.
        DataError: the data set cannot be trained on, or the teacher tells no two of its faces apart.
        ModelFileError: `init` cannot be loaded or is another network.
        TrainingError: the loss is no longer finite.
    """
    listeners = Listeners() if listeners is None else listeners
    torch.manual_seed(options.seed)
    method_options = MethodOptions(**{name: getattr(options, name) for name in MethodOptions.__dataclass_fields__})
    method = METHODS[options.method](method_options)
    if teacher is not None and not method.needs.teacher and listeners.note:
        used = "the embedding size" if options.lookalikes == 1 else "the embedding size and the choice of batches"
        listeners.note(f"the method {options.method} needs no teacher; of this one only {used} is used")
    if method.needs.teacher and teacher is None:
        raise UsageError(f"the method {options.method} needs a teacher", next_step="Give one with --teacher")
    backbone, spec, preprocessing = make_backbone(
        init,
        name=options.student,
        width=options.width,
        embedding_size=options.embedding_size,
        fresh=BackboneSpec("mobilefacenet", 128 if teacher is None else teacher.embedding_size),
        preprocessing=Preprocessing(size=options.input_size),
    )
    if method.needs.equal_sizes and teacher is not None and spec.embedding_size != teacher.embedding_size:
        raise UsageError(
            f"the method {options.method} compares embeddings directly, and the student's have "
            f"{spec.embedding_size} dimensions, the teacher's {teacher.embedding_size}",
            next_step="Leave --embedding-size out, or use a method that compares distances",
        )
    if method.needs.several_images_per_identity and options.batch_size < 2 * options.images_per_identity:
        raise UsageError(
            f"a batch of {options.batch_size} has no room for two people with {options.images_per_identity} images "
            "each",
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
    check_training_data(dataset, preprocessing, note=listeners.note)
    config: dict[str, Any] = describe_run("distill", options, dataset, spec, preprocessing, init)
    taught_by = teacher if method.needs.teacher or by_lookalikes else None
    if taught_by is not None:
        config["teacher"] = describe_teacher(taught_by)
    if resume:
        # Before the teacher's pass over the data, which may take longer than anybody waits for a refusal.
        require_same_run(run, config)
    embeddings = None
    if taught_by is not None:
        corrupt = CorruptImages(len(dataset), options.max_corrupt)  # the loader, which meets them again, lists them
        embeddings = embed_with_teacher(taught_by, dataset, corrupt, progress=listeners.teacher_progress)
    if not resume:
        run.write_config(config)
    training = Training(
        backbone=backbone,
        spec=spec,
        preprocessing=preprocessing,
        objective=Distillation(method),
        dataset=dataset,
        sampler=make_sampler(dataset, method.needs, options, embeddings),
        options=options,
        run=run,
        teacher=embeddings if method.needs.teacher else None,
        provenance=config,
        listeners=listeners,
    )
    return fit(training, resume=resume)


def make_sampler(
    dataset: FaceDataset, needs: Needs, options: DistillOptions, teacher: TeacherEmbeddings | None
) -> Sampler:
    """Batches of several images a person where the method needs them, by the teacher's eyes if that is asked for."""
    if not needs.several_images_per_identity:
        return ShuffledSampler(len(dataset), options.batch_size, seed=options.seed, shards=shards_of(dataset))
    graph = None
    if options.lookalikes > 1 and teacher is not None:
        # What the teacher could not read has no place in anybody's centre.
        seen = np.nan_to_num(teacher.original)
        graph = lookalike_graph(seen, dataset.labels, bunch=options.lookalikes, device=choose_device(options.device))
    return IdentitySampler(
        dataset.labels, options.batch_size, options.images_per_identity, seed=options.seed, graph=graph
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
            teacher, dataset, progress=progress, on_corrupt=lambda key, error: corrupt.add({key: error.cause})
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
