"""TAR at low FAR over all pairs of a labelled data set: millions of impostor pairs from a few thousand photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.embedders.load_model import Model
from facedistill.evaluation.descriptors import describe
from facedistill.evaluation.hubs import find_hubs, hub_pairs, hub_warning, norm_warning
from facedistill.evaluation.metrics import (
    OperatingPoint,
    ReadAtFars,
    accepted_impostors,
    far_label,
    impostors_needed,
    spelled_thresholds,
)
from facedistill.evaluation.pair_blocks import count_pairs, pair_blocks
from facedistill.evaluation.people_bootstrap import FARS, MOST_ACCEPTED, RESAMPLES, PeopleBootstrap, ResampledTars
from facedistill.evaluation.ranked_pairs import rank_pairs
from facedistill.evaluation.tar_intervals import CONFIDENCE, TarIntervals, tar_intervals

_CELLS_AT_ONCE = 1 << 23  # Cosines of one block: 32 MiB.


@dataclass(frozen=True)
class AllPairsResult(ReadAtFars):
    """What one model reaches on all pairs of a data set; rates are fractions, thresholds squared L2 distances.

    Args:
        name: the data set's.
        images: number of images.
        identities: number of people.
        several: number of people with several images, who alone have genuine pairs.
        genuine: number of genuine pairs.
        impostor: number of impostor pairs.
        operating_points: FAR label -> TAR and threshold; None where the impostor pairs are too few for that FAR.
        person_tars: FAR label -> TAR at that threshold with each person weighted alike: the mean over the people with
            several images of the share of their own genuine pairs that are accepted.
        intervals: of TAR over people; None where people were not resampled.
        person_intervals: likewise, with each person weighted alike.
        threshold_intervals: FAR label -> lower and upper end of the threshold's interval, squared L2 distances.
        fingerprint: of the data set.
        warnings: what makes the figures doubtful, in words.
        notes: what was done on the way, such as resizing.
    """

    name: str
    images: int
    identities: int
    several: int
    genuine: int
    impostor: int
    operating_points: dict[str, OperatingPoint | None]
    person_tars: dict[str, float | None]
    intervals: TarIntervals | None = None
    person_intervals: TarIntervals | None = None
    threshold_intervals: dict[str, tuple[float, float]] | None = None
    fingerprint: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "images": self.images,
            "identities": self.identities,
            "identities_with_several_images": self.several,
            "genuine": self.genuine,
            "impostor": self.impostor,
            "tar_at_far": self.tar_at_far,
            "tar_at_far_each_person_alike": self.person_tars,
            "intervals": None if self.intervals is None else self.intervals.ends(),
            "intervals_each_person_alike": None if self.person_intervals is None else self.person_intervals.ends(),
            "unresolvable": self.unresolvable,
            "thresholds": spelled_thresholds(self.operating_points),
            "threshold_intervals": self.threshold_intervals,
            "fingerprint": self.fingerprint,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and two rows: TAR in % at the FAR of its column, of all pairs and with each person alike."""
        columns = ["all pairs of", "images", "genuine", "impostor", *(f"TAR at {label}" for label in self.tar_at_far)]
        row = [self.name, f"{self.images:,}", f"{self.genuine:,}", f"{self.impostor:,}"]
        alike = ["  each person alike", f"{self.several:,} people", "", ""]
        row += _spell(self.tar_at_far, self.intervals)
        alike += _spell(self.person_tars, self.person_intervals)
        return columns, [row, alike]


def _spell(tar_at_far: dict[str, float | None], intervals: TarIntervals | None) -> list[str]:
    """Each TAR in %, with its interval in brackets where there is one."""
    cells = []
    for label, tar in tar_at_far.items():
        interval = None if intervals is None else intervals.at_far[label]
        ends = "" if interval is None else f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
        cells.append("-" if tar is None else f"{100 * tar:.2f}{ends}")
    return cells


def evaluate_all_pairs(
    model: Model,
    dataset: FaceDataset,
    *,
    name: str,
    batch_size: int = 64,
    fars: Sequence[float] = FARS,
    resamples: int = RESAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> AllPairsResult:
    """Judge every pair of different images of a data set.

    Args:
        model: any model, or a cache that holds these images.
        dataset: images with their identities.
        name: what to call it in a table.
        batch_size: images a call of the network.
        fars: where TAR is read.
        resamples: of the people, for the intervals; 0 for none.
        progress: called with (images done, images) after each batch.

    Raises:
        DataError, ModelFileError: as of `describe`, or the identities make no genuine or no impostor pair.
    """
    count_pairs(dataset.labels, name)
    described = describe(model, dataset, batch_size=batch_size, progress=progress)
    result = all_pairs(
        described.unit,
        dataset.labels,
        name=name,
        fars=fars,
        resamples=resamples,
        keys=described.keys,
        fingerprint=dataset.fingerprint,
        notes=described.notes,
    )
    return replace(result, warnings=(*result.warnings, *norm_warning(described.norms, described.keys)))


def all_pairs(
    embeddings: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    *,
    name: str,
    fars: Sequence[float] = FARS,
    resamples: int = 0,
    keys: Sequence[str] | None = None,
    fingerprint: str | None = None,
    notes: tuple[str, ...] = (),
) -> AllPairsResult:
    """TAR at FAR over all pairs of (N, D) unit embeddings with (N,) labels.

    Exact, in blocks: every pair is looked at once, in float32, and of the impostor pairs only those are kept that the
    highest FAR lets in. The threshold of a FAR is the nearest impostor pair that must be refused, as in `tar_at_far`.
    Hubs and intervals look at every pair once more.

    Raises:
        DataError: the labels make no genuine or no impostor pair.
    """
    embeddings = np.asarray(embeddings, dtype=np.float32)
    points, alike = _operating_points(embeddings, labels, name, fars)
    genuine, impostor = count_pairs(labels, name)
    people, sizes = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    result = AllPairsResult(
        name=name,
        images=len(labels),
        identities=len(sizes),
        several=int(np.count_nonzero(sizes > 1)),
        genuine=genuine,
        impostor=impostor,
        operating_points=points,
        person_tars=alike,
        fingerprint=fingerprint,
        notes=notes,
    )
    bootstrap = PeopleBootstrap(labels, fars=fars, resamples=resamples, name=name) if resamples else None
    kept = max(hub_pairs(impostor), bootstrap.ranked if bootstrap else 0)
    ranked = rank_pairs(embeddings, people.astype(np.int64), kept)
    result = replace(result, warnings=tuple(hub_warning(find_hubs(ranked, impostor), keys)))
    if bootstrap is None:
        return result
    resampled = bootstrap.resample(ranked) or bootstrap.of(embeddings)
    by_person = tar_intervals([resampled.each_person_alike], name=name)
    return replace(
        result,
        intervals=tar_intervals([resampled], name=name),
        person_intervals=by_person,
        threshold_intervals=threshold_intervals(resampled),
        notes=(*notes, *_without_interval(points, by_person)),
    )


def _without_interval(points: dict[str, OperatingPoint | None], intervals: TarIntervals) -> list[str]:
    labels = [label for label, point in points.items() if point is not None and intervals.at_far[label] is None]
    if not labels:
        return []
    return [f"no interval at FAR {', '.join(labels)}, which lets in more than {MOST_ACCEPTED:,} impostor pairs"]


def threshold_intervals(people: ResampledTars, confidence: float = CONFIDENCE) -> dict[str, tuple[float, float]]:
    """FAR label -> lower and upper end of its threshold over the resamples, as squared L2 distances."""
    ends = np.quantile(2.0 - 2.0 * people.resampled_cosines, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    found = zip(people.fars, *ends.tolist(), strict=True)
    return {far_label(far): (low, high) for far, low, high in found if low == low}  # not NaN


def _operating_points(
    embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], name: str, fars: Sequence[float]
) -> tuple[dict[str, OperatingPoint | None], dict[str, float | None]]:
    """FAR label -> the operating point, and TAR there with each person weighted alike."""
    genuine, impostor = count_pairs(labels, name)
    people = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    resolvable = [far for far in fars if impostor >= impostors_needed(far)]
    near = _Largest(1 + max((accepted_impostors(far, impostor) for far in resolvable), default=0))
    together = np.empty(genuine, dtype=np.float32)
    whose = np.empty(genuine, dtype=np.int32)
    filled = 0
    for block in pair_blocks(embeddings, labels, cells=_CELLS_AT_ONCE):
        found = block.cosines[block.genuine]
        part = slice(filled, filled + len(found))
        together[part], whose[part] = found, people[block.start + np.nonzero(block.genuine)[0]]
        filled = part.stop
        near.add(block.cosines[block.impostor])
    nearest, of_person = near.sorted(), np.bincount(whose)
    points: dict[str, OperatingPoint | None] = {far_label(far): None for far in fars}
    alike: dict[str, float | None] = dict.fromkeys(points)
    for far in resolvable:
        cosine = nearest[accepted_impostors(far, impostor)]
        accepted = together > cosine
        points[far_label(far)] = OperatingPoint(
            threshold=2.0 - 2.0 * float(cosine),
            tar=float(np.mean(accepted)),
            far=int(np.count_nonzero(nearest > cosine)) / impostor,
        )
        shares = np.bincount(whose[accepted], minlength=len(of_person)) / np.maximum(of_person, 1)
        alike[far_label(far)] = float(np.mean(shares[of_person > 0]))
    return points, alike


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
        if self._size > 1.25 * self._count + _CELLS_AT_ONCE:
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
