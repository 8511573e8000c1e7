"""TAR at low FAR over all pairs of a labelled data set: millions of impostor pairs from a few thousand photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.embedder import Embedder
from facedistill.errors import DataError
from facedistill.evaluation.metrics import (
    OperatingPoint,
    accepted_impostors,
    impostors_needed,
    needs,
    spelled_thresholds,
    tars,
)
from facedistill.evaluation.verification import far_label, resize_notes, unit_embeddings

FARS = (1e-2, 1e-3, 1e-4, 1e-5)

_CELLS_AT_ONCE = 1 << 23  # Cosines of one block: 32 MiB.


@dataclass(frozen=True)
class AllPairsResult:
    """What one model reaches on all pairs of a data set; rates are fractions, thresholds squared L2 distances.

    Args:
        name: the data set's.
        images: number of images.
        identities: number of people.
        genuine: number of genuine pairs.
        impostor: number of impostor pairs.
        operating_points: FAR label -> TAR and threshold; None where the impostor pairs are too few for that FAR.
        fingerprint: of the data set.
        notes: what was done on the way, such as resizing.
    """

    name: str
    images: int
    identities: int
    genuine: int
    impostor: int
    operating_points: dict[str, OperatingPoint | None]
    fingerprint: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def tar_at_far(self) -> dict[str, float | None]:
        """FAR label -> TAR, None where it cannot be resolved."""
        return tars(self.operating_points)

    @property
    def unresolvable(self) -> dict[str, str]:
        """FAR label -> what it would take, for each FAR that the impostor pairs cannot resolve."""
        return needs(self.operating_points)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "images": self.images,
            "identities": self.identities,
            "genuine": self.genuine,
            "impostor": self.impostor,
            "tar_at_far": self.tar_at_far,
            "unresolvable": self.unresolvable,
            "thresholds": spelled_thresholds(self.operating_points),
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and one row: TAR in % at the FAR of its column."""
        columns = ["all pairs of", "images", "genuine", "impostor"]
        row = [self.name, f"{self.images:,}", f"{self.genuine:,}", f"{self.impostor:,}"]
        columns += [f"TAR at {label}" for label in self.operating_points]
        row += ["-" if tar is None else f"{100 * tar:.2f}" for tar in self.tar_at_far.values()]
        return columns, [row]


def evaluate_all_pairs(
    embedder: Embedder,
    dataset: FaceDataset,
    *,
    name: str,
    batch_size: int = 64,
    fars: Sequence[float] = FARS,
    progress: Callable[[int, int], None] | None = None,
) -> AllPairsResult:
    """Embed a data set with its mirror images and judge every pair of different images.

    Args:
        embedder: any model.
        dataset: images with their identities.
        name: what to call it in a table.
        batch_size: images a call of the network.
        fars: where TAR is read.
        progress: called with (images done, images) after each batch.

    Raises:
        DataError: an image cannot be decoded, or the identities make no genuine or no impostor pair.
        ModelFileError: an embedding is not finite or has no direction.
    """
    count_pairs(dataset.labels, name)
    embedded = embed_dataset(embedder, dataset, batch_size=batch_size, progress=progress)
    keys = [dataset.key(index) for index in range(len(dataset))]
    return all_pairs(
        unit_embeddings(embedded.summed, keys, place=embedder.name),
        dataset.labels,
        name=name,
        fars=fars,
        fingerprint=dataset.fingerprint,
        notes=resize_notes(embedded.crop_sizes, embedder.preprocessing.size),
    )


def all_pairs(
    embeddings: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    *,
    name: str,
    fars: Sequence[float] = FARS,
    fingerprint: str | None = None,
    notes: tuple[str, ...] = (),
) -> AllPairsResult:
    """TAR at FAR over all pairs of (N, D) unit embeddings with (N,) labels.

    Exact, in blocks: every pair is looked at once, in float32, and of the impostor pairs only those are kept that the
    highest FAR lets in. The threshold of a FAR is the nearest impostor pair that must be refused, as in `tar_at_far`.

    Raises:
        DataError: the labels make no genuine or no impostor pair.
    """
    genuine, impostor = count_pairs(labels, name)
    resolvable = {far: impostor >= impostors_needed(far) for far in fars}
    kept = 1 + max((accepted_impostors(far, impostor) for far in fars if resolvable[far]), default=0)
    near = _Largest(kept)
    together = np.empty(genuine, dtype=np.float32)
    filled = 0
    for block in pair_blocks(np.asarray(embeddings, dtype=np.float32), labels, cells=_CELLS_AT_ONCE):
        found = block.cosines[block.genuine]
        together[filled : filled + len(found)] = found
        filled += len(found)
        near.add(block.cosines[block.impostor])
    nearest = near.sorted()
    points: dict[str, OperatingPoint | None] = {}
    for far in fars:
        points[far_label(far)] = None
        if resolvable[far]:
            cosine = nearest[accepted_impostors(far, impostor)]
            accepted = int(np.count_nonzero(nearest > cosine))
            points[far_label(far)] = OperatingPoint(
                threshold=2.0 - 2.0 * float(cosine), tar=float(np.mean(together > cosine)), far=accepted / impostor
            )
    return AllPairsResult(
        name, len(labels), len(np.unique(labels)), genuine, impostor, points, fingerprint=fingerprint, notes=notes
    )


def count_pairs(labels: npt.NDArray[np.int64], name: str) -> tuple[int, int]:
    """How many genuine and impostor pairs there are; DataError where a kind is absent."""
    sizes = np.unique(labels, return_counts=True)[1]
    genuine = int(np.sum(sizes * (sizes - 1) // 2))
    impostor = len(labels) * (len(labels) - 1) // 2 - genuine
    if not genuine or not impostor:
        raise DataError(
            f"its {len(labels)} images of {len(sizes)} people make {genuine} genuine and {impostor} impostor pairs, "
            "and both kinds are needed",
            place=name,
        )
    return genuine, impostor


class PairBlock(NamedTuple):
    """Images `start`, `start + 1`, ... (the rows) beside `start` and all that follow it (the columns).

    Args:
        start: the image of the first row and of the first column.
        cosines: (R, C) float32.
        genuine: (R, C) bool, pairs of one person.
        impostor: (R, C) bool, pairs of two people; a pair that an earlier cell holds is in neither.
    """

    start: int
    cosines: npt.NDArray[np.float32]
    genuine: npt.NDArray[np.bool_]
    impostor: npt.NDArray[np.bool_]


def pair_blocks(
    embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], *, cells: int
) -> Iterator[PairBlock]:
    """Every pair of different images once, in blocks of at most `cells` cells or one row; (N, D) unit embeddings."""
    start = 0
    while start < len(labels) - 1:
        # The rows of a block are compared with all that follow, so blocks grow as fewer do.
        stop = min(len(labels), start + max(1, cells // (len(labels) - start)))
        cosines = embeddings[start:stop] @ embeddings[start:].T
        later = np.arange(start, len(labels)) > np.arange(start, stop)[:, np.newaxis]
        same = labels[start:stop, np.newaxis] == labels[start:]
        yield PairBlock(start, cosines, later & same, later & ~same)
        start = stop


class _Largest:
    """The `count` largest of a stream of numbers, without keeping the stream."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[npt.NDArray[np.float32]] = []
        self._size = 0
        self._least = -np.inf

    def add(self, values: npt.NDArray[np.float32]) -> None:
        candidates = values[values > self._least]
        self._kept.append(candidates)
        self._size += len(candidates)
        if self._size > 2 * self._count + _CELLS_AT_ONCE:
            self._prune()

    def _prune(self) -> None:
        merged = np.concatenate(self._kept)
        if len(merged) > self._count:
            merged = np.partition(merged, len(merged) - self._count)[-self._count :]
            self._least = float(merged.min())
        self._kept, self._size = [merged], len(merged)

    def sorted(self) -> npt.NDArray[np.float32]:
        """The largest numbers, falling."""
        self._prune()
        return np.sort(self._kept[0])[::-1]
