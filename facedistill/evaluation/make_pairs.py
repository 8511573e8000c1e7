"""Make a verification benchmark of a data set: folds of different people, genuine and impostor pairs of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.embedders.embedder import Embedder
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.descriptors import describe
from facedistill.evaluation.folds import FOLDS
from facedistill.evaluation.pairs_drawing import Indices, between, even_counts, most_similar_between, within
from facedistill.evaluation.pairs_text import ListedPair, csv_text, lfw_text
from facedistill.files import write_atomically

PAIRS = 300
"""Pairs of each kind in a fold, as in LFW."""

CANDIDATES = 2000
"""Images of a fold among which hard impostor pairs are looked for: 2 million pairs, which is enough (ours)."""

Embed = Callable[[Indices], npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class MadePairs:
    """Pairs of images, fold by fold, in each the genuine ones first.

    Args:
        pairs: (P, 2) int64 indices of images, the smaller first; no pair twice.
        same: (P,) bool, whether both show one person.
        folds: (P,) int64, 0 to folds - 1; no person is in two folds.
        people: people of each fold, whether or not a pair has them.
        hard: impostor pairs that a model chose.
    """

    pairs: Indices
    same: npt.NDArray[np.bool_]
    folds: Indices
    people: tuple[int, ...]
    hard: int = 0

    def table(self, labels: Indices) -> tuple[list[str], list[list[str]]]:
        """Column names, and a row for each fold; `labels` are the data set's."""
        rows = []
        for fold, people in enumerate(self.people):
            here = self.folds == fold
            images = np.unique(self.pairs[here])
            genuine = self.pairs[here & self.same]
            most = np.bincount(labels[genuine[:, 0]]).max()
            counts = (len(genuine), int((here & ~self.same).sum()), len(images), len(np.unique(labels[images])), most)
            rows.append([str(fold), str(people), *(f"{count:,}" for count in counts)])
        return ["fold", "people", "genuine", "impostor", "images used", "people used", "most of one person"], rows

    def to_dict(self, labels: Indices) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folds": len(self.people),
            "genuine": int(self.same.sum()),
            "impostor": int((~self.same).sum()),
            "hard": self.hard,
            "people": sum(self.people),
            "people_used": len(np.unique(labels[self.pairs])),
            "images_used": len(np.unique(self.pairs)),
        }


def make_pairs(
    labels: Indices,
    *,
    pairs: int = PAIRS,
    folds: int = FOLDS,
    seed: int = 0,
    embed: Embed | None = None,
    hard_share: float = 1.0,
    candidates: int = CANDIDATES,
) -> MadePairs:
    """Choose the pairs; the same arguments give the same ones.

    People are dealt to the folds by their number of images, so that the folds are alike. Genuine pairs go round the
    people of a fold, so that nobody dominates. For impostor pairs two people are drawn, and an image of each.

    Args:
        labels: (N,) the identity of each image.
        pairs: genuine pairs a fold, and as many impostor pairs.
        folds: at least 2.
        seed: decides everything random.
        embed: (M,) indices of images -> (M, D) embeddings of length 1, by which the impostor pairs are chosen that are
            hardest to tell; None for random ones.
        hard_share: the share of the impostor pairs that `embed` chooses, 0 to 1; the others are random.
        candidates: images of a fold that are embedded, dealt to its people in turns.

    Raises:
        UsageError: a number is out of range.
        DataError: the people or images are too few; the message says how many pairs could be made.
    """
    if pairs < 1 or folds < 2:
        raise UsageError(f"{folds} folds with {pairs} pairs are asked for; two folds with one pair are the least")
    if not 0 <= hard_share <= 1:
        raise UsageError(f"the share of hard pairs is {hard_share}, it must be 0 to 1")
    rng = np.random.default_rng(seed)
    dealt = _deal_people(labels, folds, rng)
    _check_enough(dealt, pairs)
    hard_each = round(hard_share * pairs) if embed is not None else 0
    hard: list[Indices] = [np.empty((0, 2), dtype=np.int64)] * folds
    if embed is not None and hard_each:
        # Chances of its own, so that the genuine pairs are the same with and without a model.
        hard = _hard_pairs(dealt, embed, hard_each, candidates, np.random.default_rng((seed, 1)))
    chosen = []
    for people, hard_pairs in zip(dealt, hard, strict=True):
        counts = even_counts(np.array([_genuine(images) for images in people], dtype=np.int64), pairs, rng)
        genuine = [within(images, count, rng) for images, count in zip(people, counts, strict=True) if count]
        impostor = _sorted(_filled_up(hard_pairs, between(people, pairs, rng), pairs))
        chosen += [_sorted(np.concatenate(genuine)), impostor]
    return MadePairs(
        np.concatenate(chosen),
        np.tile(np.repeat([True, False], pairs), folds),
        np.repeat(np.arange(folds, dtype=np.int64), 2 * pairs),
        tuple(len(people) for people in dealt),
        sum(len(found) for found in hard),
    )


def make_pairs_of(
    dataset: FaceDataset,
    embedder: Embedder | None = None,
    *,
    pairs: int = PAIRS,
    folds: int = FOLDS,
    seed: int = 0,
    hard_share: float = 1.0,
    candidates: int = CANDIDATES,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> MadePairs:
    """`make_pairs` over the images of a data set, with a model's hardest impostor pairs where one is given.

    Similarity is the one of verification: the cosine of original plus mirrored embedding.

    Raises:
        UsageError, DataError: as `make_pairs`; or an image that was chosen cannot be decoded.
        ModelFileError: an embedding is not finite or has no direction.
    """

    def embed(indices: Indices) -> npt.NDArray[np.float64]:
        assert embedder is not None  # noqa: S101  # told apart below
        return describe(embedder, dataset, indices, batch_size=batch_size, progress=progress).unit

    made = make_pairs(
        dataset.labels,
        pairs=pairs,
        folds=folds,
        seed=seed,
        embed=None if embedder is None else embed,
        hard_share=hard_share,
        candidates=candidates,
    )
    for index in np.unique(made.pairs).tolist():
        try:
            dataset.image(index)
        except DataError as error:
            raise DataError(
                f"an image that was chosen is of no use: {error.cause}",
                place=error.place,
                next_step="Leave it out with --exclude; facedistill inspect --exclude-list lists all such images",
            ) from error
    return made


def write_pairs(path: Path, made: MadePairs, dataset: FaceDataset) -> None:
    """Write a pair list: CSV, or LFW's format where the name ends in .txt.

    Raises:
        UsageError: another suffix, or images whose names LFW's format cannot hold.
        DataError: a name can stand in no list, two images could not be told apart there, or it cannot be written.
    """
    check_list_name(path)
    used = np.unique(made.pairs)
    keys = {int(index): dataset.key(int(index)) for index in used}
    if len(set(keys.values())) < len(keys):
        raise DataError("two images have the same key, so that no list can tell them apart", place=path)
    listed = [
        ListedPair(keys[first], keys[second], same, str(fold))
        for (first, second), same, fold in zip(
            made.pairs.tolist(), made.same.tolist(), made.folds.tolist(), strict=True
        )
    ]
    text = csv_text(listed) if path.suffix.lower() == ".csv" else lfw_text(listed)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise DataError(f"the pair list cannot be written ({error.strerror})", place=path) from error


def check_list_name(path: Path) -> None:
    """UsageError where the suffix is that of no pair list."""
    if path.suffix.lower() not in (".csv", ".txt"):
        raise UsageError(f"a pair list ends in .csv or .txt, not in '{path.suffix}'", place=path)


def _genuine(images: Indices) -> int:
    return len(images) * (len(images) - 1) // 2


def _impostor(people: list[Indices]) -> int:
    sizes = [len(images) for images in people]
    return (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2


def _deal_people(labels: Indices, folds: int, rng: np.random.Generator) -> list[list[Indices]]:
    """For each fold its people, as the indices of their images in the data set's order.

    Those with most images are dealt first, back and forth (0, 1, 2, 2, 1, 0, ...); equals in random order.
    """
    labels = np.asarray(labels, dtype=np.int64)
    by_label = np.argsort(labels, kind="stable")
    people = np.split(by_label, np.flatnonzero(np.diff(labels[by_label])) + 1)
    order = rng.permutation(len(people))
    order = order[np.argsort([-len(people[person]) for person in order], kind="stable")]
    dealt: list[list[Indices]] = [[] for _ in range(folds)]
    for turn, person in enumerate(order.tolist()):
        lap, place = divmod(turn, folds)
        dealt[folds - 1 - place if lap % 2 else place].append(people[person])
    return dealt


def _check_enough(dealt: list[list[Indices]], pairs: int) -> None:
    possible = min(min(sum(map(_genuine, people)), _impostor(people)) for people in dealt)
    if possible >= pairs:
        return
    people = sum(map(len, dealt))
    several = sum(len(images) > 1 for fold in dealt for images in fold)
    raise DataError(
        f"{people} people, {several} of them with two images or more, make {possible} genuine and as many impostor "
        f"pairs in each of {len(dealt)} folds, and {pairs} are asked for",
        next_step=f"Use --pairs {possible}" + (", or fewer --folds" if len(dealt) > 2 else "")
        if possible
        else "Use fewer --folds: each needs two people, one of them with two images",
    )


def _hard_pairs(
    dealt: list[list[Indices]], embed: Embed, count: int, candidates: int, rng: np.random.Generator
) -> list[Indices]:
    """The hardest impostor pairs of each fold, among images that are embedded all at once."""
    shortlists = []
    for people in dealt:
        sizes = np.array([len(images) for images in people], dtype=np.int64)
        counts = even_counts(sizes, min(candidates, int(sizes.sum())), rng)
        picked = [rng.choice(images, taken, replace=False) for images, taken in zip(people, counts, strict=True)]
        shortlists.append([np.sort(images) for images in picked if len(images)])
    wanted = np.unique(np.concatenate([images for people in shortlists for images in people]))
    embeddings = embed(wanted)
    found = []
    for people in shortlists:
        rows = [np.searchsorted(wanted, images) for images in people]
        found.append(wanted[most_similar_between(rows, embeddings, count)])
    return found


def _filled_up(hard: Indices, random: Indices, count: int) -> Indices:
    """`hard` and as many of the `random` pairs that are not among them as make `count`."""
    known = {tuple(sorted(pair)) for pair in hard.tolist()}
    others = [pair for pair in random.tolist() if tuple(sorted(pair)) not in known]
    return np.array([*hard.tolist(), *others[: count - len(hard)]], dtype=np.int64)


def _sorted(pairs: Indices) -> Indices:
    """Each pair with the smaller index first, and the pairs in order."""
    pairs = np.sort(pairs, axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
