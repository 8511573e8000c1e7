"""Load a pair list, LFW's or CSV (see `pairs_text`), over a folder of images or any data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.data.image_source import ImageSource
from facedistill.data.open_dataset import dataset_files, open_dataset
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.benchmark import Benchmark, made_folds
from facedistill.evaluation.pairs_lookup import FolderLookup, KeyLookup
from facedistill.evaluation.pairs_text import ListedPair, parse_pairs
from facedistill.shown_name import shown_name

_LISTED = 50  # missing images that a message lists

Images = str | Path | Sequence[str | Path] | FaceDataset


def load_pair_list(path: Path, images: Images) -> Benchmark:
    """A pair list (LFW format or CSV) over the images of a folder, or of any data set.

    The list's own folds are kept; a list without folds gets 10 stratified ones.

    Args:
        path: the list.
        images: the folder that its names are relative to, which is not listed as a whole; or the path of another
            data set, or several, or one that is open: the names then are its keys, with or without an image suffix.

    Raises:
        UsageError: there is no such list, or no such images.
        DataError: the list cannot be read, a line is malformed (named as file:line), images are missing, or a class
            has too few pairs.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError("there is no such pair list", place=path) from None
    except OSError as error:
        raise DataError(f"the pair list cannot be read ({error.strerror})", place=path) from error
    except UnicodeDecodeError as error:
        raise DataError("the pair list is no UTF-8 text", place=path) from error
    lookup = _lookup(images)
    listed = parse_pairs(path, text)
    same = np.array([pair.same for pair in listed], dtype=np.bool_)
    dataset, pairs = _find_images(path, listed, lookup)
    folds, scheme = _own_folds(listed) or made_folds(same, place=path)
    return Benchmark(path.stem, dataset, pairs, same, folds, scheme, path, hashlib.sha256(content).hexdigest())


def _lookup(images: Images) -> FolderLookup | KeyLookup:
    if isinstance(images, str | Path):
        folder = Path(images)
        # Whether it is a folder of images is asked before anything is opened, since opening it would list it whole.
        if folder.is_dir() and not dataset_files(folder):
            return FolderLookup(folder)
        if not folder.exists() and not any(mark in str(images) for mark in ":{"):
            raise UsageError("there are no such images", place=folder, next_step="Check --images")
    elif not isinstance(images, Sequence):
        return KeyLookup(images)
    return KeyLookup(open_dataset(images))


def _own_folds(listed: list[ListedPair]) -> tuple[npt.NDArray[np.int64], str] | None:
    """(P,) fold of each pair as the list gives it, numbered in order, and a description; None where it gives none."""
    names = [pair.fold for pair in listed if pair.fold is not None]
    if not names:
        return None
    numeric = all(name.isascii() and name.isdigit() for name in names)
    order = {name: number for number, name in enumerate(sorted(set(names), key=int if numeric else None))}
    return np.array([order[name] for name in names], dtype=np.int64), f"the list's own {len(order)} folds"


def _find_images(
    path: Path, listed: list[ListedPair], lookup: FolderLookup | KeyLookup
) -> tuple[ImageSource, npt.NDArray[np.int64]]:
    """The unique images of a list and (P, 2) indices into them; DataError where any is missing."""
    wanted = dict.fromkeys(name for pair in listed for name in (pair.first, pair.second))
    found = {name: lookup.find(name) for name in wanted}
    missing = [shown_name(name) for name, image in found.items() if image is None]
    if missing:
        listed_names = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        hint = "None is there: --images may point to the wrong folder" if len(missing) == len(found) else None
        looked = lookup.describe(missing[0])
        raise DataError(
            f"{len(missing)} of its {len(found)} images are missing: {listed_names}",
            place=path,
            next_step=looked if hint is None else f"{looked}. {hint}",
        )
    unique = dict.fromkeys(found.values())
    index = {image: position for position, image in enumerate(unique)}
    pairs = [(index[found[pair.first]], index[found[pair.second]]) for pair in listed]
    dataset: ImageSource = lookup.images(list(unique))  # type: ignore[arg-type]  # each lookup takes what it found
    return dataset, np.array(pairs, dtype=np.int64).reshape(-1, 2)
