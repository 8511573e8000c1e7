"""Wrong labels, by a model: images far from their identity's centre, and identities that look like one person."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.inspection.centres import close_pairs, nearest_other, sums_of, unit
from facedistill.inspection.impostors import Impostors, fit_impostors

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Ours; docs/inspect.md holds what they were measured to find.
STRANGER_FAR = 1e-2
"""An image is a stranger to its identity where it is less like it than this share of impostors are."""
NAMED_FAR = 1e-2
"""Chance that a face which no identity shows is said to look like one of them."""
PAIR_FAR = 1e-6
"""Share of the pairs of different people that look like one person; in large sets it is lower, see `MOST_BY_CHANCE`."""
MOST_BY_CHANCE = 10
"""Pairs of different people that are found in the whole set, as the distribution of impostors foretells."""


@dataclass(frozen=True)
class WrongLabel:
    """An image that does not look like its identity.

    Attributes:
        name: its key.
        identity: what it is filed under.
        cosine: to the centre of that identity's other images.
        looks_like: the identity that it looks like, None where it is like nobody's here.
        other_cosine: to the centre of the most similar other identity, whether or not that is near enough.
    """

    name: str
    identity: str
    cosine: float
    looks_like: str | None
    other_cosine: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "cosine": round(self.cosine, 4), "other_cosine": round(self.other_cosine, 4)}


@dataclass(frozen=True)
class SamePerson:
    """Two identities that look like one person.

    Attributes:
        first, second: their names; `first` has as many images or more.
        cosine: of their centres.
        first_image, second_image: their two most similar images.
    """

    first: str
    second: str
    cosine: float
    first_image: str
    second_image: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "cosine": round(self.cosine, 4)}


@dataclass(frozen=True)
class LabelNoise:
    """What a model says of the labels.

    Attributes:
        model: its name.
        stranger: cosine to the others of its identity below which an image is a stranger there.
        alike: cosine of two centres from which two identities look like one person.
        judged: images of identities with three images or more, each of which can be judged.
        wrong: those that are strangers, the least similar first; and of two images that are strangers to one another
            the one that looks like somebody else.
        split: identities with two images that show two people, and nobody can tell which is right.
        pairs: identities that look like one person, the most similar first.
        more_pairs: how many of these are not listed.
    """

    model: str
    stranger: float
    alike: float
    judged: int
    wrong: tuple[WrongLabel, ...]
    split: tuple[str, ...]
    pairs: tuple[SamePerson, ...]
    more_pairs: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "stranger": round(self.stranger, 4),
            "alike": round(self.alike, 4),
            "wrong": [image.to_dict() for image in self.wrong],
            "split": list(self.split),
            "pairs": [pair.to_dict() for pair in self.pairs],
        }


@dataclass(frozen=True)
class _Labelled:
    """The images that belong to an identity."""

    embeddings: Floats
    labels: Indices
    counts: Indices
    names: tuple[str, ...]
    identities: tuple[str, ...]


def find_label_noise(
    embeddings: Floats, labels: Indices, names: tuple[str, ...], identities: tuple[str, ...], *, model: str
) -> LabelNoise | None:
    """Judge the labels of N images by their embeddings.

    Args:
        embeddings: (N, D) float32 of length 1.
        labels: (N,) int64 index into `identities`, each of which has an image; below 0 for images of nobody.
        names: (N,) the images' keys.
        identities: (C,) their names.
        model: what made the embeddings.

    Returns:
        None where there are too few identities to say what impostors reach.
    """
    if (labels < 0).any():
        # Copied only where that is needed: the embeddings of millions of images take gigabytes.
        kept = np.flatnonzero(labels >= 0)
        embeddings, labels, names = embeddings[kept], labels[kept], tuple(names[index] for index in kept.tolist())
    counts = np.bincount(labels, minlength=len(identities))
    data = _Labelled(embeddings, labels, counts, names, identities)
    sums = sums_of(data.embeddings, data.labels, len(identities))
    impostors = fit_impostors(data.embeddings, data.labels, unit(sums))
    if impostors is None:
        return None
    stranger = impostors.threshold(STRANGER_FAR)
    # Without the image itself, which would pull the centre towards it.
    own = np.concatenate([_to_the_others(data, sums, rows) for rows in _pieces(len(data.labels))])
    strangers, centres = _find_strangers(data, sums, own, stranger)
    nearest, cosines = nearest_other(data.embeddings[strangers], centres, data.labels[strangers])
    named = cosines >= impostors.threshold(NAMED_FAR / len(identities))
    of_many = data.counts[data.labels[strangers]] > 2
    wrong = [
        WrongLabel(
            name=data.names[image],
            identity=identities[data.labels[image]],
            cosine=float(own[image]),
            looks_like=identities[nearest[row]] if named[row] else None,
            other_cosine=float(cosines[row]),
        )
        for row, image in enumerate(strangers)
        if of_many[row] or named[row]
    ]
    of_two = np.unique(data.labels[strangers[~of_many]])
    explained = set(data.labels[strangers[~of_many & named]].tolist())
    pairs, alike, more = _same_people(data, centres, impostors)
    return LabelNoise(
        model=model,
        stranger=stranger,
        alike=alike,
        judged=int(data.counts[data.counts > 2].sum()),
        wrong=tuple(sorted(wrong, key=lambda image: (image.cosine, image.name))),
        split=tuple(identities[label] for label in of_two.tolist() if label not in explained),
        pairs=tuple(pairs),
        more_pairs=more,
    )


def _pieces(count: int) -> list[slice]:
    return [slice(start, start + (1 << 16)) for start in range(0, count, 1 << 16)]


def _to_the_others(data: _Labelled, sums: Floats, rows: slice) -> Floats:
    """Cosine of each image to the centre of its identity's other images; 1 where it is the only one."""
    embeddings, labels = data.embeddings[rows], data.labels[rows]
    others = unit(sums[labels] - embeddings)
    cosines = np.einsum("nd,nd->n", embeddings, others)
    return np.asarray(np.where(data.counts[labels] > 1, cosines, 1), dtype=np.float32)


def _find_strangers(data: _Labelled, sums: Floats, own: Floats, stranger: float) -> tuple[Indices, Floats]:
    """The images below the threshold, and (C, D) centres without them; lifts their `own` to what it is without them.

    A wrong image draws the centre of a small identity away from the right ones, so those that were found are held once
    more against what is left when all found are taken out.
    """
    found = np.flatnonzero(own < stranger)
    centres = _clean_centres(data, sums, found)
    labels = data.labels[found]
    left = np.bincount(labels, minlength=len(sums))[labels] < data.counts[labels]
    again = np.einsum("nd,nd->n", data.embeddings[found], centres[labels])
    own[found] = np.where(left & (data.counts[labels] > 2), again, own[found])
    strangers = found[own[found] < stranger]
    return strangers, _clean_centres(data, sums, strangers)


def _clean_centres(data: _Labelled, sums: Floats, strangers: Indices) -> Floats:
    """(C, D) centres without the strangers of larger identities, which would make two people look like one."""
    out = strangers[data.counts[data.labels[strangers]] > 2]
    removed = sums_of(data.embeddings[out], data.labels[out], len(sums))
    empty = np.bincount(data.labels[out], minlength=len(sums)) == data.counts
    removed[empty] = 0
    return unit(sums - removed)


def _same_people(data: _Labelled, centres: Floats, impostors: Impostors) -> tuple[list[SamePerson], float, int]:
    """The pairs of identities that look like one person, the threshold, and how many pairs are not listed."""
    compared = len(centres) * (len(centres) - 1) / 2
    alike = impostors.threshold(min(PAIR_FAR, MOST_BY_CHANCE / compared))
    rows, cosines, more = close_pairs(centres, None, alike)
    order = np.argsort(data.labels, kind="stable")
    ends = np.cumsum(data.counts)
    found = []
    for pair, cosine in zip(rows, cosines, strict=True):
        # Of two equally large ones the earlier stays first.
        first, second = sorted(pair.tolist(), key=lambda label: (-data.counts[label], label))
        images = [order[ends[label] - data.counts[label] : ends[label]] for label in (first, second)]
        table = data.embeddings[images[0]] @ data.embeddings[images[1]].T
        one, other = np.unravel_index(int(table.argmax()), table.shape)
        found.append(
            SamePerson(
                first=data.identities[first],
                second=data.identities[second],
                cosine=float(cosine),
                first_image=data.names[images[0][one]],
                second_image=data.names[images[1][other]],
            )
        )
    return found, alike, more
