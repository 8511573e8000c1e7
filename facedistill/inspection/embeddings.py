"""The embeddings that an inspection looks at: of each readable image and its mirror image, summed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from facedistill.embedders.embedder import Embedder
from facedistill.evaluation.descriptors import describe
from facedistill.inspection.scan import Scan

_PIECE = 1 << 14  # images of which the original and the mirrored embeddings are kept apart


def embed_scan(
    embedder: Embedder, scan: Scan, *, batch_size: int = 64, progress: Callable[[int, int], None] | None = None
) -> npt.NDArray[np.float32]:
    """(N, D) float32 of length 1 for the N images of `scan`.

    Raises:
        DataError: an image can no longer be read.
        ModelFileError: an embedding is not finite or has no direction.
    """
    found = np.empty((len(scan), embedder.embedding_size), dtype=np.float32)
    for start in range(0, len(scan), _PIECE):
        rows = slice(start, min(start + _PIECE, len(scan)))

        def embedded(done: int, _: int, before: int = start) -> None:
            if progress is not None:
                progress(before + done, len(scan))

        some = describe(embedder, scan.source, scan.indices[rows], batch_size=batch_size, progress=embedded)
        found[rows] = some.unit
    return found
