"""The list of what an inspection would leave out, as the training commands take it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facedistill.errors import DataError, UsageError
from facedistill.files import write_atomically
from facedistill.inspection.report import InspectReport

Kind = Literal["identity", "image"]


@dataclass(frozen=True)
class Exclusion:
    """One line of the list: an identity's name or an image's key, and why."""

    kind: Kind
    name: str
    reason: str


def find_exclusions(report: InspectReport) -> list[Exclusion]:
    """What to leave out, each identity and image once with all its reasons: identities, then images, by name.

    Of a picture that is filed under several identities no copy is kept, since nobody knows which label is right; of
    two identities that look like one person the one with fewer images goes.
    """
    reasons: dict[tuple[Kind, str], dict[str, None]] = {}
    for found in (*_images(report), *_by_model(report), *_shared(report)):
        reasons.setdefault((found.kind, found.name), {})[found.reason] = None
    return [Exclusion(kind, name, "; ".join(found)) for (kind, name), found in sorted(reasons.items())]


def _images(report: InspectReport) -> Iterator[Exclusion]:
    for name, reason in report.unreadable:
        yield Exclusion("image", name, f"no whole image: {reason}")
    for group in report.duplicates:
        if group.identities > 1:
            for name in group.names:
                yield Exclusion("image", name, "the same picture under several identities")
        else:
            for name in group.names[1:]:
                yield Exclusion("image", name, f"a copy of {group.names[0]}")
    for pair in report.near_duplicates:
        for name, other in ((pair.first, pair.second), (pair.second, pair.first)):
            yield Exclusion("image", name, f"under another identity there is a version of this picture: {other}")


def _by_model(report: InspectReport) -> Iterator[Exclusion]:
    noise = report.label_noise
    if noise is None:
        return
    for image in noise.wrong:
        who = "nobody here" if image.looks_like is None else f"{image.looks_like} ({image.other_cosine:.3f})"
        yield Exclusion("image", image.name, f"unlike {image.identity} ({image.cosine:.3f}), looks like {who}")
    for identity in noise.split:
        yield Exclusion("identity", identity, "its two images look like two people")
    for pair in noise.pairs:
        yield Exclusion("identity", pair.second, f"looks like {pair.first} ({pair.cosine:.3f})")


def _shared(report: InspectReport) -> Iterator[Exclusion]:
    for overlap in report.overlaps:
        for picture in overlap.pictures:
            yield Exclusion("image", picture.name, f"in {overlap.benchmark}: {picture.likeness} as {picture.other}")
        for person in overlap.people or ():
            yield Exclusion(
                person.kind, person.name, f"in {overlap.benchmark}: looks like {person.other} ({person.cosine:.3f})"
            )


def check_exclude_path(path: Path, *, overwrite: bool) -> None:
    """UsageError where the list is there already or is a folder; to be called before the work."""
    if path.is_dir():
        raise UsageError("this is a folder, and the list is a file", place=path, next_step="Name a file in it")
    if path.exists() and not overwrite:
        raise UsageError("the list is there already", place=path, next_step="Add --overwrite, or name another file")


def write_exclude_list(path: Path, exclusions: list[Exclusion]) -> None:
    """Write CSV in UTF-8 with the header `kind,name,reason`; names that are no UTF-8 keep their bytes.

    Raises:
        DataError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("kind", "name", "reason"))
    writer.writerows((found.kind, found.name, found.reason) for found in exclusions)
    try:
        write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise DataError(f"the list cannot be written ({error.strerror})", place=path) from error
