"""What a data set shares with a benchmark: files, pictures, and people as a model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from facedistill.inspection.centres import close_pairs, sums_of, unit
from facedistill.inspection.duplicates import near_duplicates_between
from facedistill.inspection.impostors import fit_impostors
from facedistill.inspection.scan import Scan

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

PERSON_FAR = 1e-5
"""Share of the pairs of different people, one from each set, that are taken for one person (ours)."""
MOST_LOST = 1e-2
"""Share of the data set's people that are so found in the benchmark by chance, whatever its size (ours)."""

Likeness = Literal["the same bytes", "the same pixels", "one picture in two versions"]
_LIKENESSES: tuple[Likeness, ...] = ("the same bytes", "the same pixels", "one picture in two versions")


@dataclass(frozen=True)
class SharedPicture:
    """An image of the data set that is in the benchmark, the benchmark's image, and in what they are equal."""

    name: str
    other: str
    likeness: Likeness


@dataclass(frozen=True)
class SharedPerson:
    """Somebody in the data set whom the model sees in the benchmark.

    Attributes:
        kind: "identity", or "image" for an image that belongs to none.
        name: of that identity or image.
        other: the benchmark's most similar identity, or image where nothing says whom it shows.
        cosine: of their centres.
    """

    kind: Literal["identity", "image"]
    name: str
    other: str
    cosine: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "cosine": round(self.cosine, 4)}


@dataclass(frozen=True)
class Overlap:
    """What is in the data set and in one benchmark.

    Attributes:
        benchmark: its path.
        images: those of the benchmark that can be read.
        unreadable: those that cannot.
        pictures: shared ones, each image of the data set once, the surest likeness first.
        unchecked_pairs: candidates for near-duplicates that were too many to compare.
        people: those that a model sees in both, the most similar first; None where no model was asked, or where there
            are too few people to say what impostors reach.
        threshold: cosine from which two are one person, None as `people`.
    """

    benchmark: str
    images: int
    unreadable: int
    pictures: tuple[SharedPicture, ...]
    unchecked_pairs: int
    people: tuple[SharedPerson, ...] | None = None
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "pictures": [asdict(picture) for picture in self.pictures],
            "people": None if self.people is None else [person.to_dict() for person in self.people],
            "threshold": None if self.threshold is None else round(self.threshold, 4),
        }


def shared_pictures(scan: Scan, benchmark: Scan, *, workers: int = 1) -> tuple[list[SharedPicture], int]:
    """The images of `scan` that are in `benchmark`, and the candidates left unchecked.

    Args:
        scan: the data set's.
        benchmark: hashed with the medians of `scan`.
        workers: threads that decode.
    """
    found: dict[str, SharedPicture] = {}
    for likeness, mine, theirs in zip(
        _LIKENESSES,
        (scan.byte_digests, scan.pixel_digests),
        (benchmark.byte_digests, benchmark.pixel_digests),
        strict=False,
    ):
        digests, first = np.unique(theirs, return_index=True)
        for index in np.flatnonzero(np.isin(mine, digests)).tolist():
            other = benchmark.names[int(first[np.searchsorted(digests, mine[index])])]
            found.setdefault(scan.names[index], SharedPicture(scan.names[index], other, likeness))
    near, unchecked = near_duplicates_between(scan, benchmark, workers=workers)
    for pair in near:
        found.setdefault(pair.first, SharedPicture(pair.first, pair.second, _LIKENESSES[2]))
    order = {likeness: place for place, likeness in enumerate(_LIKENESSES)}
    return sorted(found.values(), key=lambda picture: (order[picture.likeness], picture.name)), unchecked


@dataclass(frozen=True)
class _People:
    """Identities, then the images that belong to none: their centres, and the group of each image."""

    names: list[str]
    identities: int
    centres: Floats
    groups: Indices


def shared_people(
    embeddings: Floats, scan: Scan, other_embeddings: Floats, benchmark: Scan
) -> tuple[list[SharedPerson], float] | None:
    """The people of `scan` that look like one of `benchmark`, and the cosine that was asked for.

    Args:
        embeddings: (N, D) float32 of length 1, of the images of `scan`.
        scan: the data set's.
        other_embeddings: (M, D) likewise, of the images of `benchmark`.
        benchmark: the benchmark's.

    Returns:
        None where there are too few people to say what impostors reach.
    """
    mine = _people(embeddings, scan.labels, scan.identities, scan.names)
    theirs = _people(other_embeddings, benchmark.labels, benchmark.identities, benchmark.names)
    impostors = fit_impostors(embeddings, mine.groups, mine.centres)
    if impostors is None:
        impostors = fit_impostors(other_embeddings, theirs.groups, theirs.centres)
    if impostors is None:
        return None
    threshold = impostors.threshold(min(PERSON_FAR, MOST_LOST / len(theirs.centres)))
    pairs, cosines, _ = close_pairs(mine.centres, theirs.centres, threshold)
    # The closest pairs come first, so that each person's first is the most similar one.
    _, first = np.unique(pairs[:, 0], return_index=True)
    return [
        SharedPerson(
            kind="identity" if pairs[place, 0] < mine.identities else "image",
            name=mine.names[int(pairs[place, 0])],
            other=theirs.names[int(pairs[place, 1])],
            cosine=float(cosines[place]),
        )
        for place in np.sort(first)
    ], threshold


def _people(embeddings: Floats, labels: Indices, identities: Sequence[str], names: Sequence[str]) -> _People:
    alone = np.flatnonzero(labels < 0)
    groups = labels.copy()
    groups[alone] = len(identities) + np.arange(len(alone))
    all_names = [*identities, *(names[int(index)] for index in alone)]
    return _People(all_names, len(identities), unit(sums_of(embeddings, groups, len(all_names))), groups)
