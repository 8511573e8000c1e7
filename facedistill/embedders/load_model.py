"""Open whatever is to be judged: a model, or a cache of what one has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facedistill.embedders.cache import EmbeddingCache, is_cache, load_cache
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.load import load_embedder
from facedistill.errors import UsageError

Model = Embedder | EmbeddingCache
"""A model, or the embeddings that one has left in a cache."""


def load_model(
    path: Path,
    *,
    device: str = "auto",
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    note: Callable[[str], None] | None = None,
) -> Model:
    """Open the model, or the cache of embeddings, at `path`; arguments and errors as of `load_embedder`.

    Raises:
        UsageError: a preprocessing given for a cache, which carries its own.
    """
    if not is_cache(path):
        return load_embedder(path, device=device, color=color, mean=mean, std=std, note=note)
    if (color, mean, std) != (None, None, None):
        raise UsageError(
            "the cache carries the preprocessing that it was made with; --color, --mean and --std are for published "
            "weights and foreign ONNX files",
            place=path,
            next_step="Leave them out",
        )
    return load_cache(path)
