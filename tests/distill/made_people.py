"""Made embeddings of student and teacher around people, for the methods with class centres."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from facedistill.distill import (
    adadistill,
    adadistill_fixed,
    gkd,
    hinton_kd,
    margin_distillation,
    margin_softmax,
)
from facedistill.distill.method import METHODS, DistillationBatch, Setting

# Imported for what they register.
MODULES = (adadistill, adadistill_fixed, gkd, hinton_kd, margin_distillation, margin_softmax)
NAMES = ["margin-softmax", "adadistill", "adadistill-fixed", "margin-distillation", "hinton-kd", "gkd"]
EQUAL = ["adadistill", "adadistill-fixed", "margin-distillation"]
CLASSES, SIZE, TEACHER_SIZE = 11, 6, 9
# Several images of an identity, within a process's half of the batch and across the halves.
LABELS = [3, 3, 0, 7, 3, 7, 1, 10]


def teacher_size_of(name: str) -> int:
    return SIZE if name in EQUAL else TEACHER_SIZE


def setting_of(name: str, *, classes: int = CLASSES, **values: Any) -> Setting:
    generator = torch.Generator().manual_seed(99)
    size = teacher_size_of(name)
    centres = functional.normalize(torch.randn(classes, size, generator=generator))
    known = {"identities": classes, "teacher_size": size, "centres": centres, "batches_per_epoch": 2}
    return Setting(**{"student_size": SIZE, **known, **values})


def build(name: str, *, setting: Setting | None = None, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    kind = METHODS[name]
    method = kind(kind.options(**options), setting_of(name) if setting is None else setting)
    # Centres of a length near 1, so that gradients are near 1 too.
    with torch.no_grad():
        for parameter in method.parameters():  # type: ignore[attr-defined]
            parameter.mul_(60)
    return method


def batch_of(name: str, seed: int = 0, *, dtype: torch.dtype = torch.float64) -> DistillationBatch:
    """The teacher knows the people somewhat; the student, where sizes agree, somewhat agrees with it."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(LABELS)
    centres = setting_of(name).centres
    assert centres is not None
    size = teacher_size_of(name)
    teacher = 4 * (centres[labels] + 0.4 * torch.randn(len(labels), size, generator=generator))
    student = torch.randn(len(labels), SIZE, generator=generator)
    if size == SIZE:
        student = student + 0.5 * teacher
    return DistillationBatch((2 * student).to(dtype), teacher.to(dtype), labels)
