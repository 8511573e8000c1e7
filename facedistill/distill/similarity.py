"""How alike the images of a batch are to a network: unit vectors, cosines, and their agreement with the teacher's."""

from __future__ import annotations

import torch

from facedistill.loss import Figure

# Shorter embeddings have no direction; functional.normalize draws the line at the same length.
SHORTEST = 1e-12


def precise(embeddings: torch.Tensor) -> torch.Tensor:
    """The same values in float32; float64 stays float64."""
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


def unit_rows(embeddings: torch.Tensor) -> torch.Tensor:
    """(B, D) -> its rows divided by their lengths, in float32 or better.

    A row of length 0 stays 0, and what flows back through it is not multiplied by 1e12 as in `functional.normalize`.
    """
    embeddings = precise(embeddings)
    length = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    return embeddings / torch.where(length > SHORTEST, length, 1)


def pairwise_cosines(embeddings: torch.Tensor) -> torch.Tensor:
    """(B, D) -> (B, B) float32 or better, the cosines between all rows; 0 for a row of length 0, itself included."""
    unit = unit_rows(embeddings)
    return unit @ unit.T


def cosine_gap(student: torch.Tensor, teacher: torch.Tensor) -> Figure:
    """How far the student's cosines (B, B) lie from the teacher's: mean |difference| over different images."""
    size = len(student)
    total = (student.detach() - teacher).abs().fill_diagonal_(0).sum()
    return Figure(total, torch.full_like(total, max(1, size * (size - 1))))
