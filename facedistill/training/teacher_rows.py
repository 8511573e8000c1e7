"""A teacher's pass over the training data, and what follows from it: rows to look up, and class centres."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch.nn import functional

from facedistill.data.corrupt_images import CorruptImages
from facedistill.data.dataset import FaceDataset
from facedistill.distill.centres import class_centres
from facedistill.embedders.cache import EmbeddingCache, load_cache
from facedistill.embedders.cache_ensemble import EnsembleCache
from facedistill.embedders.cache_folder import cache_for
from facedistill.embedders.cache_manifest import MANIFEST, read_manifest
from facedistill.embedders.cache_writer import write_cache
from facedistill.embedders.cached_rows import CachedRows, TeacherRows
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.load_teacher import Teacher
from facedistill.errors import DataError, ModelFileError
from facedistill.training.distill_options import CACHE_WORDS, DistillOptions

SAMPLE = 2000
"""Images by which it is judged whether a teacher tells faces apart at all (ours)."""

LIVE_SAMPLE = 64
"""As many of them where the teacher has not embedded the data (ours)."""


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
        if (place / MANIFEST).is_file() and read_manifest(place).finished:
            cache = load_cache(place)
            cache.check_teacher(teacher)
        else:
            cache = write_cache(teacher, dataset, place, wait=True, on_corrupt=on_corrupt, progress=progress, note=note)
        rows = cache.of(dataset)
    else:
        embedded = embed_dataset(teacher, dataset, progress=progress, on_corrupt=on_corrupt, shared=True)
        assert embedded.mirrored is not None  # noqa: S101 - asked for by default
        rows = CachedRows.in_memory(embedded.original, embedded.mirrored, key_of=dataset.key)
    require_spread(sample_of(rows))
    return rows


def require_spread(seen: npt.NDArray[np.float32]) -> None:
    """DataError where (N, T) embeddings of a sample of faces are nearly the same, or there are none."""
    if not len(seen):
        raise DataError(
            "the teacher has not one embedding of the data set", next_step="Check the folder of crops, or the cache"
        )
    unit = seen / np.maximum(np.linalg.norm(seen.astype(np.float64), axis=1, keepdims=True), 1e-300)
    mean_cosine = float((unit.mean(axis=0) ** 2).sum())
    if mean_cosine > 0.98:
        raise DataError(
            f"the teacher gives nearly the same embedding for every face (mean cosine {mean_cosine:.3f})",
            next_step="Check its weights and its --teacher-color, --teacher-mean and --teacher-std",
        )


def sample_of(rows: TeacherRows) -> npt.NDArray[np.float32]:
    """(N, T) embeddings of a sample of the images that have one."""
    present = np.flatnonzero(rows.present)
    chosen = present[np.random.default_rng(0).permutation(len(present))[:SAMPLE]]
    return rows.lookup(chosen, np.zeros(len(chosen), dtype=np.bool_))


def centres_of_teacher(
    rows: TeacherRows, dataset: FaceDataset, learned: torch.Tensor | None, *, note: Callable[[str], None] | None
) -> torch.Tensor:
    """(C, T) float32 unit vectors: the classes of the teacher's own head, or else its mean embeddings of each person.

    Args:
        rows: its embeddings of `dataset`.
        dataset: the faces.
        learned: the centres of its own head, where it has one for these data; see `learned_centres`.
        note: told which of the two it is.

    Raises:
        DataError: a person has no readable image.
    """
    if learned is not None:
        if note:
            note("the class centres are those of the teacher's own head")
        return functional.normalize(learned)
    if note:
        note(
            "the teacher has no head for these identities; its mean embedding of each person, normalised, serves as "
            "the person's class centre"
        )
    return class_centres(rows, dataset.labels, dataset.identities)


def learned_centres(run: Path, dataset: FaceDataset, size: int) -> torch.Tensor | None:
    """(C, size) class centres that a run has learned for these very data, of any length; None where it has none.

    They are those of its margin head, or of a distillation method that has one. A run on other data has other classes,
    a sub-centre head several centres for each, and PartialFC keeps them in parts where several processes trained.

    Raises:
        ModelFileError: the run's configuration or state is damaged.
    """
    state, config = run / "last" / "state.pt", run / "config.yaml"
    if not state.is_file() or not config.is_file():
        return None
    try:
        facts = yaml.safe_load(config.read_text(encoding="utf-8"))["run"]["data"]
        if facts["fingerprint"] != dataset.fingerprint:
            return None
        objective = torch.load(state, map_location="cpu", weights_only=True)["objective"]
    except (
        OSError,
        EOFError,
        UnpicklingError,
        RuntimeError,
        yaml.YAMLError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelFileError(
            f"the run's configuration or saved state cannot be read ({type(error).__name__})",
            place=run,
            next_step="Name its weights instead, last/backbone.safetensors, to do without its classifier",
        ) from error
    wanted = (len(dataset.identities), size)
    found = [
        centres for name, centres in objective.items() if name.endswith("head.centres") and centres.shape == wanted
    ]
    return found[0].float() if found else None


def check_live_teacher(teacher: Embedder, dataset: FaceDataset) -> None:
    """Have a teacher that will look at every view embed a few crops before the first step.

    Raises:
        DataError: it gives nearly the same embedding for every face, or none of the crops can be decoded.
        ModelFileError: an embedding is not finite.
    """
    chosen = np.random.default_rng(0).permutation(len(dataset))[:LIVE_SAMPLE]
    embedded = embed_dataset(teacher, dataset, chosen, mirror=False, on_corrupt=lambda key, error: None)
    require_spread(embedded.original[np.isfinite(embedded.original).all(axis=1)])
