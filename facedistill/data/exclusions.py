"""What a data set is used without: a list that `inspect` writes and people may write or edit."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.data.dataset import FaceDataset
from facedistill.data.subset import Subset
from facedistill.errors import DataError, UsageError
from facedistill.shown_name import shown_name

KINDS = ("image", "identity")


@dataclass(frozen=True)
class Exclusions:
    """Names to leave out.

    Args:
        images: keys of images.
        identities: names of identities.
        place: where they were listed, for messages.
    """

    images: frozenset[str]
    identities: frozenset[str]
    place: Path | None = None


def read_exclusions(path: Path) -> Exclusions:
    """Read a CSV list with the header `kind,name,reason`; a kind is `image` or `identity`, the reason is not read.

    Raises:
        UsageError: there is no such file.
        DataError: the list cannot be read, or a line is malformed (named as file:line).
    """
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            if header[:2] != ["kind", "name"]:
                raise DataError(
                    f"the list begins with '{shown_name(','.join(header))}'",
                    place=f"{path}:1",
                    next_step="Begin it with the line kind,name,reason; facedistill inspect --exclude-list writes one",
                )
            for row in reader:
                if not row:
                    continue
                if row[0].strip() not in found or len(row) < 2 or not row[1]:
                    raise DataError(
                        f"the line begins with '{shown_name(','.join(row[:2]))}'",
                        place=f"{path}:{reader.line_num}",
                        next_step="Write image,KEY,REASON or identity,NAME,REASON",
                    )
                found[row[0].strip()].add(row[1])
    except FileNotFoundError:
        raise UsageError("there is no such list of exclusions", place=path) from None
    except (OSError, csv.Error) as error:
        raise DataError(f"the list of exclusions cannot be read ({error})", place=path) from error
    return Exclusions(frozenset(found["image"]), frozenset(found["identity"]), path)


def exclude(dataset: FaceDataset, exclusions: Exclusions, *, note: Callable[[str], None] | None = None) -> FaceDataset:
    """`dataset` without what is listed; a note says what was left out and what was not there.

    Raises:
        DataError: nothing that is listed is here, or nothing is left.
    """
    kept = np.array([name not in exclusions.identities for name in dataset.identities], dtype=np.bool_)[dataset.labels]
    found_images = 0
    if exclusions.images:
        listed = np.array([dataset.key(index) in exclusions.images for index in range(len(dataset))], dtype=np.bool_)
        found_images = int(listed.sum())
        kept &= ~listed
    found = found_images + len(exclusions.identities & set(dataset.identities))
    names = len(exclusions.images) + len(exclusions.identities)
    if names and not found:
        raise DataError(
            f"none of the {names} listed names is in the data",
            place=exclusions.place,
            next_step=f"Here an image is called '{shown_name(dataset.key(0))}', and an identity "
            f"'{shown_name(dataset.identities[0])}'; of several data sets the names begin with each one's own",
        )
    if not kept.any():
        raise DataError(
            "every image is excluded, so that nothing is left", place=exclusions.place, next_step="Shorten the list"
        )
    if note is not None:
        left_out = int((~kept).sum())
        absent = f"; {names - found} of the {names} listed names are not here" if found < names else ""
        note(f"{left_out} of {len(dataset)} images are excluded{absent}")
    return dataset if kept.all() else Subset(dataset, np.flatnonzero(kept))
