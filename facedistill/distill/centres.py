"""The teacher's class centres: where it puts each training identity, and its classifier where it has none itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from facedistill.distill.method import Setting
from facedistill.embedders.cached_rows import TeacherRows
from facedistill.errors import DataError, UsageError
from facedistill.shown_name import shown_name

# Below this length the mean of unit vectors is rounding error, and has no direction (ours).
SHORTEST_MEAN = 1e-4


def class_centres(rows: TeacherRows, labels: npt.NDArray[np.integer], identities: Sequence[str]) -> torch.Tensor:
    """The normalised mean of the normalised embeddings of each person's images and mirrored images.

    Each embedding is normalised before the mean is taken, so that sharp crops do not count for more than others. The
    rows are read piece by piece: never more than a piece of them is in memory.

    Args:
        rows: of N images and their mirror images; those of images that cannot be read do not count.
        labels: (N,) identities from 0 to C - 1; images with a label below 0 belong to nobody.
        identities: the C names of the identities.

    Returns:
        (C, T) float32 unit vectors.

    Raises:
        DataError: a person without a single readable image, or whose embeddings are zero or cancel each other out.
    """
    owners = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    sums = torch.zeros(len(identities), rows.embedding_size)
    counts = torch.zeros(len(identities))
    for which, *parts in rows.pieces():
        owner = owners[which]
        for part in parts:
            embeddings = torch.from_numpy(part)
            counted = torch.isfinite(embeddings).all(dim=1) & (owner >= 0)
            sums.index_add_(0, owner[counted], functional.normalize(embeddings[counted]))
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
    if equal_sizes:
        require_equal_sizes(name, setting.student_size, setting.teacher_size)


def require_equal_sizes(name: str, student_size: int, teacher_size: int) -> None:
    """UsageError where the embeddings of student and teacher are not of the same length."""
    if student_size != teacher_size:
        raise UsageError(
            f"the method {name} compares embeddings directly, and the student's have {student_size} dimensions, the "
            f"teacher's {teacher_size}",
            next_step="Leave --embedding-size out, or use a method that compares distances",
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
