"""A teacher's pass over the training data, and what follows from it: rows to look up, and class centres."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.nn import functional

from facedistill.data.corrupt_images import CorruptImages
from facedistill.data.dataset import FaceDataset
from facedistill.distill.centres import class_centres
from facedistill.embedders.cache import EmbeddingCache, is_cache, load_cache
from facedistill.embedders.cache_ensemble import EnsembleCache
from facedistill.embedders.cache_folder import cache_for
from facedistill.embedders.cache_manifest import read_manifest
from facedistill.embedders.cache_writer import write_cache
from facedistill.embedders.cached_rows import CachedRows, TeacherRows
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.load_teacher import Teacher
from facedistill.errors import DataError
from facedistill.training.distill_options import CACHE_WORDS, DistillOptions

SAMPLE = 2000
"""Images by which it is judged whether a teacher tells faces apart at all (ours)."""


def describe_teacher(teacher: Teacher) -> dict[str, Any]:
    """Name, fingerprint and preprocessing of the teacher, for the run's provenance."""
    if isinstance(teacher, (EmbeddingCache, EnsembleCache)):
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


def teacher_rows(
    teacher: Teacher,
    dataset: FaceDataset,
    options: DistillOptions,
    *,
    note: Callable[[str], None] | None,
    progress: Callable[[int, int], None] | None,
) -> TeacherRows:
    """The teacher's embeddings of all crops and their mirror images: looked up, or computed first.

    Raises:
        DataError: too many images are corrupt; or all embeddings are nearly the same and can teach nothing (a wrong
            preprocessing, or weights that were never trained).
        ModelFileError: a cache is of another teacher, of other images, or damaged.
        UsageError: the folder of caches cannot be written.
    """
    # The loader, which meets corrupt images again, lists them and replaces them, so that nobody looks them up.
    corrupt = CorruptImages(len(dataset), options.max_corrupt)

    def on_corrupt(key: str, error: DataError) -> None:
        corrupt.add({key: error.cause})

    rows: TeacherRows
    if isinstance(teacher, (EmbeddingCache, EnsembleCache)):
        rows = teacher.of(dataset)
    elif options.cache == "auto":
        rows = cache_for(teacher, dataset, on_corrupt=on_corrupt, progress=progress, note=note).of(dataset)
    elif options.cache not in CACHE_WORDS:
        place = Path(options.cache)
        if is_cache(place) and read_manifest(place).finished:
            cache = load_cache(place)
            cache.check_teacher(teacher)
        else:
            cache = write_cache(teacher, dataset, place, wait=True, on_corrupt=on_corrupt, progress=progress, note=note)
        rows = cache.of(dataset)
    else:
        embedded = embed_dataset(teacher, dataset, progress=progress, on_corrupt=on_corrupt, shared=True)
        assert embedded.mirrored is not None  # noqa: S101 - asked for by default
        rows = CachedRows.in_memory(embedded.original, embedded.mirrored, key_of=dataset.key)
    require_spread(rows)
    return rows


def require_spread(rows: TeacherRows) -> None:
    """DataError where the embeddings of a sample are nearly the same, or there are none."""
    present = np.flatnonzero(rows.present)
    if not len(present):
        raise DataError("not one image of the data set could be decoded", next_step="Check the folder of crops")
    chosen = present[np.random.default_rng(0).permutation(len(present))[:SAMPLE]]
    seen = rows.lookup(chosen, np.zeros(len(chosen), dtype=np.bool_))
    unit = seen / (seen**2).sum(axis=1, keepdims=True) ** 0.5
    mean_cosine = float((unit.mean(axis=0) ** 2).sum())
    if mean_cosine > 0.98:
        raise DataError(
            f"the teacher gives nearly the same embedding for every face (mean cosine {mean_cosine:.3f})",
            next_step="Check its weights and its --teacher-color, --teacher-mean and --teacher-std",
        )


def centres_of_teacher(
    rows: TeacherRows,
    dataset: FaceDataset,
    run: Path | None,
    *,
    note: Callable[[str], None] | None,
) -> torch.Tensor:
    """(C, T) float32 unit vectors: the classes of the teacher's own head, or else its mean embeddings of each person.

    Args:
        rows: its embeddings of `dataset`.
        dataset: the faces.
        run: the folder of the run that trained it, where it is known.
        note: told which of the two it is.

    Raises:
        DataError: a person has no readable image.
    """
    learned = None if run is None else learned_centres(run, dataset, rows.embedding_size)
    if learned is not None:
        if note:
            note("the class centres are those of the teacher's own head")
        return functional.normalize(learned)
    if note:
        note(
            "the teacher has no head for these identities; its mean embedding of each person, normalised, serves as "
            "the person's class centre"
        )
    original, mirrored = rows.all()
    return class_centres(original, mirrored, dataset.labels, dataset.identities)


def learned_centres(run: Path, dataset: FaceDataset, size: int) -> torch.Tensor | None:
    """(C, size) class centres that a run has learned for these very data, of any length; None where it has none.

    A run on other data has other classes, a sub-centre head several centres for each, and PartialFC keeps them in parts
    where several processes trained.
    """
    state, config = run / "last" / "state.pt", run / "config.yaml"
    if not state.is_file() or not config.is_file():
        return None
    facts = yaml.safe_load(config.read_text(encoding="utf-8")).get("run", {})
    if facts.get("data", {}).get("fingerprint") != dataset.fingerprint:
        return None
    centres = torch.load(state, map_location="cpu", weights_only=True)["objective"].get("head.centres")
    if centres is None or centres.shape != (len(dataset.identities), size):
        return None
    return torch.as_tensor(centres).float()
