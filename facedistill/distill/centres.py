"""The teacher's class centres: where it puts each training identity, and its classifier where it has none itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from facedistill.distill.method import Setting
from facedistill.embedders.cached_rows import TeacherRows
from facedistill.errors import DataError, UsageError
from facedistill.shown_name import shown_name

_ROWS = 1 << 16  # images that are converted to float32 at once, so that a memory-mapped float16 array can stay on disk

# Below this length the mean of unit vectors is rounding error, and has no direction (ours).
SHORTEST_MEAN = 1e-4


def class_centres(
    original: npt.NDArray[np.floating],
    mirrored: npt.NDArray[np.floating] | None,
    labels: npt.NDArray[np.integer],
    identities: Sequence[str],
) -> torch.Tensor:
    """The normalised mean of the normalised embeddings of each person's images and mirrored images.

    Each embedding is normalised before the mean is taken, so that sharp crops do not count for more than others.

    Args:
        original: (N, T) embeddings of the images, of any scale, float16 or better, maybe memory-mapped; rows of NaN for
            images that cannot be read, which do not count.
        mirrored: (N, T) those of the mirrored images; None where there are none.
        labels: (N,) identities from 0 to C - 1; images with a label below 0 belong to nobody.
        identities: the C names of the identities.

    Returns:
        (C, T) float32 unit vectors.

    Raises:
        DataError: a person without a single readable image, or whose embeddings are zero or cancel each other out.
    """
    parts = (original,) if mirrored is None else (original, mirrored)
    pieces = [slice(start, start + _ROWS) for start in range(0, len(original), _ROWS)]
    return _centres(((which, part[which]) for part in parts for which in pieces), original.shape[1], labels, identities)


def centres_of_rows(rows: TeacherRows, labels: npt.NDArray[np.integer], identities: Sequence[str]) -> torch.Tensor:
    """The same of a teacher's rows, which are read piece by piece: never more than a piece of them is in memory.

    Args:
        rows: of N images and their mirror images; those of images that cannot be read do not count.
        labels: (N,) identities from 0 to C - 1; images with a label below 0 belong to nobody.
        identities: the C names of the identities.

    Returns:
        (C, T) float32 unit vectors.

    Raises:
        DataError: as of `class_centres`.
    """
    pieces = ((which, part) for which, *parts in rows.pieces() for part in parts)
    return _centres(pieces, rows.embedding_size, labels, identities)


def _centres(
    pieces: Iterable[tuple[slice, npt.NDArray[np.floating]]],
    size: int,
    labels: npt.NDArray[np.integer],
    identities: Sequence[str],
) -> torch.Tensor:
    """(C, size) unit vectors of embeddings that come in pieces: which images they are of, and (M, size) of them."""
    owners = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    sums = torch.zeros(len(identities), size)
    counts = torch.zeros(len(identities))
    for which, embeddings in pieces:
        rows = torch.from_numpy(np.array(embeddings, dtype=np.float32))
        owner = owners[which]
        counted = torch.isfinite(rows).all(dim=1) & (owner >= 0)
        sums.index_add_(0, owner[counted], functional.normalize(rows[counted]))
        counts.index_add_(0, owner[counted], torch.ones(int(counted.sum())))
    _refuse(
        counts == 0, identities, "no readable image", "Leave such people out of the training, or repair their files"
    )
    lengths = sums.norm(dim=1)
    _refuse(
        lengths < SHORTEST_MEAN * counts,
        identities,
        "no class centre by this teacher, since its embeddings of them are zero or cancel each other out",
        "Look at their images, or take another teacher",
    )
    return sums.div_(lengths[:, None])


def _refuse(bad: torch.Tensor, identities: Sequence[str], what: str, next_step: str) -> None:
    """DataError where `bad` (C,) bool is set for anybody: what they have not got."""
    people = bad.nonzero().flatten().tolist()
    if not people:
        return
    verb = "has" if len(people) == 1 else "have"
    raise DataError(
        f"{len(people)} of {len(bad)} people {verb} {what}; the first of them is '{shown_name(identities[people[0]])}'",
        next_step=next_step,
    )


def require_teacher(setting: Setting, name: str, *, equal_sizes: bool = False) -> None:
    """UsageError where there is no teacher, or where its embeddings are not as long as the student's and have to be.

    The command checks this before; here it keeps a call from Python from training on nothing, which ends in NaN.
    """
    if setting.teacher_size < 1:
        raise UsageError(f"the method {name} needs a teacher", next_step="Give one with --teacher")
    if equal_sizes and setting.student_size != setting.teacher_size:
        raise UsageError(
            f"the method {name} compares embeddings directly, and the student's have {setting.student_size} numbers "
            f"but the teacher's {setting.teacher_size}",
            next_step="Leave --embedding-size out, or use a method that works with different sizes",
        )


def teacher_centres(setting: Setting, name: str) -> torch.Tensor:
    """The (C, T) unit vectors of the setting; UsageError without them or in another shape."""
    require_teacher(setting, name)
    if setting.centres is None:
        raise UsageError(f"the method {name} needs the teacher's class centres")
    if setting.centres.shape != (setting.identities, setting.teacher_size):
        shape = " x ".join(str(length) for length in setting.centres.shape)
        raise UsageError(
            f"the teacher's class centres are {shape}, and {setting.identities} people with embeddings of "
            f"{setting.teacher_size} numbers are trained on"
        )
    return setting.centres
