"""Whether a run has what its distillation methods need, asked before any work is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

from facedistill.data.batches.augmentation_options import AugmentationOptions
from facedistill.distill.centres import require_equal_sizes
from facedistill.distill.method import Needs
from facedistill.distill.terms import Term
from facedistill.embedders.cache import EmbeddingCache
from facedistill.embedders.cache_ensemble import EnsembleCache
from facedistill.embedders.ensemble import EnsembleEmbedder
from facedistill.embedders.load_teacher import Teacher
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import UsageError
from facedistill.ranks import ranks
from facedistill.training.distill_options import CACHE_WORDS, DistillOptions


def needs_of(terms: Sequence[Term]) -> Needs:
    """What the terms need, taken together."""
    return Needs(**{field.name: any(getattr(term.needs, field.name) for term in terms) for field in fields(Needs)})


def check_teacher(
    teacher: Teacher | None,
    terms: Sequence[Term],
    options: DistillOptions,
    *,
    note: Callable[[str], None] | None,
) -> None:
    """UsageError where a term needs a teacher that is not there, or more of it than it has; a note where none does."""
    if all(term.needs.features for term in terms):
        raise UsageError(
            "feature maps alone do not teach the student its embedding",
            place=f"--method {terms[0].name}",
            next_step="Add a term that does, such as --plus margin-softmax or --plus cosine",
        )
    for term in terms:
        if term.needs.teacher and teacher is None:
            raise UsageError(f"the method {term.name} needs a teacher", next_step="Give one with --teacher")
        if term.needs.features and not isinstance(teacher, TorchEmbedder):
            raise UsageError(
                f"the method {term.name} needs the teacher's feature maps, and {kind_of(teacher)} has none",
                place="--teacher",
                next_step="Give one checkpoint, run folder or published weights",
            )
    if isinstance(teacher, (EmbeddingCache, EnsembleCache)) and options.cache not in CACHE_WORDS:
        raise UsageError(
            "the teacher is a cache of embeddings itself, and nothing is left to keep",
            place=f"--cache {options.cache}",
            next_step="Leave --cache out",
        )
    if isinstance(teacher, (EmbeddingCache, EnsembleCache)) and options.live:
        raise UsageError(
            "a cache of embeddings cannot look at the student's views",
            place="--cache off",
            next_step="Give the teacher itself, or leave --cache out",
        )
    if teacher is not None and note and not any(term.needs.teacher for term in terms):
        names = " and ".join(term.name for term in terms)
        used = "the embedding size" if options.lookalikes == 1 else "the embedding size and the choice of batches"
        verb = "the method {} needs" if len(terms) == 1 else "the methods {} need"
        note(f"{verb.format(names)} no teacher; of this one only {used} is used")
    elif teacher is not None and note and not options.live and options.augmentation != AugmentationOptions():
        note(
            "the student sees augmented crops, and the teacher has seen them as they are; --cache off lets it see "
            "the same, and takes longer"
        )


def kind_of(teacher: Teacher | None) -> str:
    """What a teacher is, in a message."""
    if isinstance(teacher, (EmbeddingCache, EnsembleCache)):
        return "a cache of embeddings"
    return "an ensemble of several teachers" if isinstance(teacher, EnsembleEmbedder) else "an ONNX file"


def check_sizes(terms: Sequence[Term], student_size: int, teacher: Teacher | None) -> None:
    """UsageError where a term compares embeddings of different lengths."""
    for term in terms:
        if term.needs.equal_sizes and teacher is not None:
            require_equal_sizes(term.name, student_size, teacher.embedding_size)


def check_batches(terms: Sequence[Term], options: DistillOptions, batch_size: int, teacher: Teacher | None) -> None:
    """UsageError where the batches cannot be what the terms need."""
    by_people = any(term.needs.several_images_per_identity for term in terms)
    if by_people and batch_size < 2 * options.images_per_identity:
        raise UsageError(
            f"a batch of {batch_size} {'images a process ' if ranks() > 1 else ''}has no room for two people with "
            f"{options.images_per_identity} images each",
            next_step="Raise --batch-size, or lower --images-per-identity",
        )
    if options.lookalikes > 1 and not by_people:
        names = " and ".join(term.name for term in terms)
        raise UsageError(
            f"--lookalikes has no use for the method {names}, whose batches are shuffled",
            next_step="Leave it out, or use a method with triplets",
        )
    if options.lookalikes > 1 and teacher is None:
        raise UsageError("--lookalikes is by a teacher's eyes, and there is none", next_step="Give one with --teacher")
