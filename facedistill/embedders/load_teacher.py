"""Open whatever is to teach: one model or cache, or several of them as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from facedistill.embedders.cache import EmbeddingCache, is_cache, load_cache
from facedistill.embedders.cache_ensemble import EnsembleCache
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.ensemble import EnsembleEmbedder, check_combine
from facedistill.embedders.load import load_embedder
from facedistill.errors import UsageError

Teacher = Embedder | EmbeddingCache | EnsembleCache
"""A model, several as one, a cache of embeddings, or several as one."""


def load_teacher(
    paths: Sequence[Path],
    *,
    weights: Sequence[float] | None = None,
    combine: str = "concat",
    device: str = "auto",
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    note: Callable[[str], None] | None = None,
) -> Teacher | None:
    """Open the teachers at `paths`; None where there are none.

    Args:
        paths: models, or caches of embeddings.
        weights: of several, one for each; None for equal ones.
        combine: of several, "concat" or "mean"; see `Combination`.
        device: "auto", "cpu" or "cuda".
        color: colour order of published weights or foreign ONNX files, for all of them.
        mean: their mean, 0..255 scale.
        std: their standard deviation, 0..255 scale.
        note: receives one line about each thing that was assumed.

    Raises:
        ModelFileError: no such teacher, or one that cannot be loaded.
        UsageError: weights that do not fit, an unknown way to combine, models and caches mixed, a preprocessing given
            for a cache, which carries its own, or as of `load_embedder`.
    """
    check_combine(combine)
    if len(paths) < 2 and weights is not None:
        raise UsageError("the weight of a teacher counts beside another's only", place="--teacher-weight")
    if not paths:
        return None
    caches = [load_cache(path) for path in paths if is_cache(path)]
    if caches and len(caches) < len(paths):
        model = next(path for path in paths if not is_cache(path))
        raise UsageError(
            "models and caches of embeddings cannot teach together",
            place=model,
            next_step="Make a cache of it too, with facedistill embed",
        )
    if caches and (color, mean, std) != (None, None, None):
        raise UsageError(
            "the cache carries the preprocessing that it was made with; --teacher-color, --teacher-mean and "
            "--teacher-std are for published weights and foreign ONNX files",
            place=paths[0],
            next_step="Leave them out, or make another cache with facedistill embed and its --color, --mean and --std",
        )
    if caches:
        return caches[0] if len(caches) == 1 else EnsembleCache(caches, weights, combine)
    models = [load_embedder(path, device=device, color=color, mean=mean, std=std, note=note) for path in paths]
    return models[0] if len(models) == 1 else EnsembleEmbedder(models, weights, combine)
