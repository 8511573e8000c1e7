"""The divergence of two softmaxes taken apart into a group of classes and the rest, as GKD does (arXiv 2304.04462)."""

from __future__ import annotations

import torch


@torch.no_grad()
def group_size(probability: torch.Tensor, *, tau: float = 0.93, step: int = 1) -> torch.Tensor:
    """How many of the likeliest classes it takes to reach a probability of tau.

    Nothing is read back from the device. Where tau is not reached, by rounding or because the last step lies beyond the
    last class, it is all of them; the public code, which looks at 1, 1 + step, 1 + 2 step ... below C, then stops with
    an unset variable.

    Args:
        probability: (C,) a softmax, averaged over the batch.
        tau: what has to be reached.
        step: sizes are 1, 1 + step, 1 + 2 step and so on, rounded upwards; 1 for the exact size.

    Returns:
        0-d int64, 1 to C.
    """
    reached = probability.double().sort(descending=True).values.cumsum(dim=0)
    exact = (reached[:-1] < tau).sum()  # K - 1
    steps = torch.div(exact + step - 1, step, rounding_mode="floor")
    return (1 + step * steps).clamp(max=len(probability))


@torch.no_grad()
def primary_group(logits: torch.Tensor, labels: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """The own class and the highest logits, `size` classes together; classes as high as the last one are in it too.

    Args:
        logits: (B, C).
        labels: (B,) int64.
        size: 0-d int64, 1 to C.

    Returns:
        (B, C) bool.
    """
    ranked = logits.scatter(1, labels[:, None], torch.inf)
    lowest = ranked.sort(dim=1, descending=True).values.index_select(1, (size - 1).reshape(1))
    return ranked >= lowest


def grouped_divergence(
    student: torch.Tensor, teacher: torch.Tensor, group: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(teacher || student) within the group, and of the group against the rest, for each image.

    All in logarithms: the probability of the rest is a sum over the rest, not 1 minus that of the group, which has no
    digits left where the group is likely.

    Args:
        student: (B, C) logits, already divided by the temperature, with gradient.
        teacher: (B, C) likewise, without.
        group: (B, C) bool, at least one class in each row.

    Returns:
        (B,) the primary and (B,) the binary divergence. A group of all classes has a binary divergence of 0, one of a
        single class a primary divergence of 0.
    """
    # Lower than any logit, but finite: of -inf alone the gradient of the sum's logarithm would be NaN.
    nothing = torch.finfo(student.dtype).min / 4
    with torch.no_grad():
        teacher_inside = torch.where(group, teacher, nothing).logsumexp(dim=1)
        teacher_rest = torch.where(group, nothing, teacher).logsumexp(dim=1)
        teacher_all = torch.logaddexp(teacher_inside, teacher_rest)
        probability = torch.where(group, teacher - teacher_inside[:, None], nothing).exp()
    student_inside = torch.where(group, student, nothing).logsumexp(dim=1)
    student_rest = torch.where(group, nothing, student).logsumexp(dim=1)
    student_all = torch.logaddexp(student_inside, student_rest)
    # Logits rather than logarithms of probabilities, which would be one more tensor of (B, C); their sums come after.
    primary = (probability * (teacher - student)).sum(dim=1) + student_inside - teacher_inside
    binary = torch.zeros_like(primary)
    for ours, theirs in ((student_inside, teacher_inside), (student_rest, teacher_rest)):
        taught = theirs - teacher_all
        binary = binary + taught.exp() * (taught - (ours - student_all))
    return primary, binary
