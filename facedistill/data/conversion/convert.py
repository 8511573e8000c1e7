"""Turn a data set into another format without touching the bytes of its images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facedistill.data.conversion.draft import whole_or_nothing
from facedistill.data.conversion.folder_writer import write_image_folder
from facedistill.data.conversion.readable import Skipped, WatchedDataset, nothing_readable, readable_part
from facedistill.data.conversion.stored_bytes import stored_bytes
from facedistill.data.conversion.target import Target, check_target
from facedistill.data.conversion.working_folder import clear_leftovers
from facedistill.data.dataset import FaceDataset
from facedistill.data.subset import Subset
from facedistill.data.verification_bin import VerificationBin, write_bin
from facedistill.errors import DataError, UsageError

if TYPE_CHECKING:
    from facedistill.data.image_source import ImageSource
    from facedistill.evaluation.benchmark import Benchmark

PAIRS = "pairs.csv"
"""The pair list that is written into a folder of images made from a `.bin` file."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Args:
        target: what was written.
        images: the images written; of a `.bin` two a pair.
        identities: the people of a data set that has them, None for a `.bin`.
        pairs: the pairs written, None where there are none.
        skipped: key and reason of each image that was left out.
        renamed: images whose name was not safe to write as it was, key and new path.
        notes: what a user should know.
    """

    target: Target
    images: int
    identities: int | None = None
    pairs: int | None = None
    skipped: Skipped = ()
    renamed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "out": str(self.target.path),
            "format": self.target.format,
            "images": self.images,
            "identities": self.identities,
            "pairs": self.pairs,
            "skipped": [{"key": key, "reason": reason} for key, reason in self.skipped],
            "renamed": [{"key": key, "path": path} for key, path in self.renamed],
            "notes": list(self.notes),
        }


def convert(
    dataset: FaceDataset,
    target: Target,
    *,
    pairs: Benchmark | None = None,
    overwrite: bool = False,
    check: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Write `dataset` in the target's format; the bytes of each image are copied as they are stored.

    An image that cannot be read, or has no bytes, is left out and named in the result. A `.bin` takes its pairs from
    `pairs`, or from the data set itself if that is one; a pair of which an image is left out is left out, too. A `.bin`
    that becomes a folder leaves its pairs there as `pairs.csv`, and each picture once. What conversions to the same
    target left when they were killed is removed first, see `clear_leftovers`.

    Args:
        dataset: any data set.
        target: see `choose_target`.
        pairs: pairs over images of `dataset`, for a `.bin`.
        overwrite: replace an earlier result.
        check: decode each image, and leave those out that are corrupt.
        strict: raise the error of an image instead of leaving it out.
        progress: told the images done and to do; with `check` each counts twice.

    Raises:
        UsageError: something is in the way, or pairs are missing or of no use.
        DataError: the result cannot be written, no image can be read, or, with `strict`, one cannot.
    """
    leftovers = tuple(clear_leftovers(target.path))
    check_target(target, overwrite=overwrite)
    if target.format == "bin":
        result = _to_bin(dataset, target, pairs, check=check, strict=strict, progress=progress)
    else:
        result = _to_data_set(dataset, target, pairs, check=check, strict=strict, progress=progress)
    return replace(result, notes=leftovers + result.notes)


def _to_data_set(
    dataset: FaceDataset,
    target: Target,
    pairs: Benchmark | None,
    *,
    check: bool,
    strict: bool,
    progress: Progress | None,
) -> Conversion:
    if pairs is not None:
        raise UsageError(f"a pair list goes into a .bin file, not into a {target.format}", place=target.path)
    skipped: Skipped = ()
    passes = 2 if check else 1
    chosen = _distinct(dataset) if isinstance(dataset, VerificationBin) and target.format == "folder" else None
    part: FaceDataset = dataset if chosen is None else Subset(dataset, chosen)
    if check:
        part, skipped = readable_part(
            part, decode=True, strict=strict, progress=_scaled(progress, 0, passes), place=target.path
        )
    watched = WatchedDataset(part)
    try:
        result = _write(watched, target, dataset, _scaled(progress, passes - 1, passes))
    except DataError:
        if strict or watched.failed is None:
            raise
        # Rare, so that the search for more of the kind may cost another pass.
        part, more = readable_part(part, decode=False, strict=False, progress=None, place=target.path)
        skipped += more
        result = _write(part, target, dataset, _scaled(progress, passes - 1, passes))
    return Conversion(target, len(part), len(part.identities), skipped=skipped, **result)


def _write(part: FaceDataset, target: Target, whole: FaceDataset, progress: Progress | None) -> dict[str, Any]:
    """Write the readable part of a data set; what else there is to say of it in a `Conversion`."""
    pair_set = whole if isinstance(whole, VerificationBin) else None
    with whole_or_nothing(target) as draft:
        if target.format == "folder":
            paths = write_image_folder(part, draft, progress=progress)
            result: dict[str, Any] = {"renamed": _renamed(part, paths)}
            if pair_set is not None:
                lines, result["notes"] = _bin_pairs(pair_set, part, paths)
                (draft / PAIRS).write_text(lines, encoding="utf-8", newline="\n")
                result["pairs"] = lines.count("\n") - 1
            return result
        if target.format == "rec":
            from facedistill.data.records.writer import write_rec

            write_rec(part, draft, progress=progress)
        else:
            from facedistill.data.shards.writer import write_shards

            write_shards(part, draft, progress=progress)
    lost = f"the pairs are not kept in {target.format}; convert to a folder to keep them as {PAIRS}"
    return {} if pair_set is None else {"notes": (lost,)}


def _to_bin(
    dataset: FaceDataset,
    target: Target,
    pairs: Benchmark | None,
    *,
    check: bool,
    strict: bool,
    progress: Progress | None,
) -> Conversion:
    source: ImageSource = dataset
    if pairs is not None:
        source, indices, same = pairs.dataset, pairs.pairs, pairs.same
    elif isinstance(dataset, VerificationBin):
        indices, same = dataset.pairs, dataset.same
    else:
        raise UsageError(
            "a .bin file holds pairs, and none are given",
            place=target.path,
            next_step="Add --pairs LIST; facedistill make-pairs makes one",
        )
    encoded: dict[int, bytes] = {}
    skipped: list[tuple[str, str]] = []
    used = np.unique(indices)
    for done, index in enumerate(used.tolist(), 1):
        try:
            encoded[index] = stored_bytes(source, index)
            if check:
                source.image(index)
        except DataError as error:
            if strict:
                raise
            encoded.pop(index, None)
            skipped.append((source.key(index), error.cause))
        if progress is not None:
            progress(done, len(used))
    present = np.isin(indices, list(encoded))
    whole = present[:, 0] & present[:, 1]
    if not whole.any():
        raise nothing_readable("no pair has two images that can be read", *skipped[0], target.path)
    with whole_or_nothing(target) as draft:
        write_bin(draft, [encoded[index] for index in indices[whole].ravel().tolist()], same[whole])
    notes = _left_out(int((~whole).sum())) + ([] if pairs is None else _fold_notes(pairs, whole))
    count = int(whole.sum())
    return Conversion(target, 2 * count, pairs=count, skipped=tuple(skipped), notes=tuple(notes))


def _left_out(pairs: int) -> list[str]:
    if not pairs:
        return []
    return ["1 pair is left out with its images" if pairs == 1 else f"{pairs} pairs are left out with their images"]


def _fold_notes(pairs: Benchmark, whole: npt.NDArray[np.bool_]) -> list[str]:
    from facedistill.evaluation.folds import FOLDS, contiguous_folds

    folds = pairs.folds[whole]
    own = pairs.fold_scheme.startswith("the list's own")
    if not own or (len(folds) >= FOLDS and np.array_equal(folds, contiguous_folds(len(folds)))):
        return []
    return [f"a .bin file has no folds of its own: its pairs are cut into {FOLDS} in their order, not as in the list"]


def _bin_pairs(whole: VerificationBin, part: FaceDataset, paths: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The text of `pairs.csv`, and notes.

    The folds are those under which the `.bin` itself is evaluated; where that makes its own, the list has none.
    """
    from facedistill.evaluation.folds import FOLDS, contiguous_folds, hold_both_classes
    from facedistill.evaluation.pairs_text import ListedPair, csv_text

    path_of = {part.encoded(index): path for index, path in enumerate(paths)}
    folds = contiguous_folds(len(whole.same))
    own = len(whole.same) < FOLDS or not hold_both_classes(whole.same, folds)
    listed = []
    for (first, second), same, fold in zip(whole.pairs.tolist(), whole.same.tolist(), folds.tolist(), strict=True):
        names = [path_of.get(whole.encoded(index)) for index in (first, second)]
        if names[0] is not None and names[1] is not None:
            listed.append(ListedPair(names[0], names[1], same, None if own else str(fold)))
    return csv_text(listed), tuple(_left_out(len(whole.same) - len(listed)))


def _distinct(dataset: VerificationBin) -> npt.NDArray[np.int64]:
    """The first of each run of images with the same bytes, which a pair set repeats in every pair that has them."""
    first: dict[bytes, int] = {}
    for index in range(len(dataset)):
        first.setdefault(dataset.encoded(index), index)
    return np.fromiter(first.values(), dtype=np.int64)


def _renamed(dataset: FaceDataset, paths: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Images whose folder is not their identity's name, or whose file is not the last part of their key."""
    changed = []
    for index, path in enumerate(paths):
        key = dataset.key(index)
        folder, _, file = path.rpartition("/")
        name = key.rpartition("/")[2]
        added = file.removeprefix(name)
        if folder != dataset.identities[int(dataset.labels[index])] or added not in ("", Path(file).suffix):
            changed.append((key, path))
    return tuple(changed)


def _scaled(progress: Progress | None, done_passes: int, passes: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(done_passes * total + done, passes * total)
