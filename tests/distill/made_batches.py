"""Made-up batches of embeddings for the tests of methods that need nothing else."""

from __future__ import annotations

import torch

from facedistill.distill.method import DistillationBatch, Setting

LABELS = (0, 0, 0, 1, 1, 1, 2, 2, 3, 4)


def made_batch(
    seed: int, *, student_size: int = 6, teacher_size: int = 9, labels: tuple[int, ...] = LABELS
) -> DistillationBatch:
    """float64 embeddings of uneven lengths, the student's with gradient."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.rand(len(labels), 1, generator=generator, dtype=torch.float64) * 3 + 0.5
    student = torch.randn(len(labels), student_size, generator=generator, dtype=torch.float64) * length
    teacher = torch.randn(len(labels), teacher_size, generator=generator, dtype=torch.float64) * 2
    return DistillationBatch(student.requires_grad_(), teacher, torch.tensor(labels))


def setting_of(batch: DistillationBatch) -> Setting:
    return Setting(batch.student.shape[1], batch.teacher.shape[1], int(batch.labels.max()) + 1)


def turned(embeddings: torch.Tensor) -> torch.Tensor:
    """The embeddings after a rotation of their space."""
    size = embeddings.shape[1]
    generator = torch.Generator().manual_seed(size)
    rotation = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    return embeddings @ rotation.to(embeddings.dtype)


def in_floats(embeddings: torch.Tensor) -> list[list[float]]:
    rows: list[list[float]] = embeddings.detach().tolist()
    return rows
