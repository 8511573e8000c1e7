"""What holds for every registered method, whoever wrote it: a new one is tested here without a word about it."""

from __future__ import annotations

import contextlib
import copy
import io
import re
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from facedistill.distill import METHODS
from facedistill.distill.method import DistillationBatch, DistillationMethod, Needs, Setting
from facedistill.embedders.cached_rows import CachedRows, split_norms
from facedistill.ranks import gather, rank, ranks, sum_over_ranks

from ..two_processes import run_in_two_processes

ENTRIES = {entry.name: entry for entry in METHODS}
PEOPLE = 6
LABELS = (0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5)
SIGNAL, NUISANCE = 8, 16
STUDENT_MAP, TEACHER_TOKENS = (3, 4, 4), (9, 5)

# Options with which a method carries over the whole structure, where its published ones only ask for a part of it.
# The order of three neighbours can be had by sending the second and the third away.
WHOLE_STRUCTURE: dict[str, dict[str, Any]] = {"darkrank": {"length": 16}}

# functional.normalize multiplies a gradient by 1e12 at length zero: finite, and the end of any training. No method may
# but this one, which is a head as the training of teachers has it.
HUGE_AT_LENGTH_ZERO = {"margin-softmax"}

# Figures that are a variance over the images of a process: their mean is not that of all images.
OF_A_PROCESS = {"spread"}

every_method = pytest.mark.parametrize("name", ENTRIES)


def needs_of(name: str) -> Needs:
    kind = METHODS[name]
    return kind.needs(kind.options())


def teacher_size(needs: Needs) -> int:
    return SIGNAL if needs.equal_sizes else 12


def made_images(labels: tuple[int, ...], seed: int) -> torch.Tensor:
    """(B, 24) "images": what tells people apart, and behind it more that tells nothing."""
    people = torch.randn(PEOPLE, SIGNAL, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    signal = people[list(labels)] + 0.4 * torch.randn(len(labels), SIGNAL, generator=generator)
    return torch.cat([signal, 1.5 * torch.randn(len(labels), NUISANCE, generator=generator)], dim=1)


def teach(images: torch.Tensor, size: int) -> torch.Tensor:
    """(B, size) the made-up teacher's embeddings: it sees the signal alone."""
    weights = torch.randn(SIGNAL, size, generator=torch.Generator().manual_seed(98))
    return images[:, :SIGNAL] @ weights


def made_rows(embeddings: torch.Tensor) -> CachedRows:
    """The teacher's (N, T) embeddings of all training images, whose mirror images look the same to it."""
    directions, norms = split_norms(embeddings.numpy())
    return CachedRows(np.stack([directions] * 2, axis=1), np.stack([norms] * 2, axis=1))


def made_setting(needs: Needs) -> Setting:
    labels = tuple(range(PEOPLE)) * 4
    embeddings = teach(made_images(labels, 97), teacher_size(needs))
    centres = functional.normalize(functional.normalize(embeddings).view(4, PEOPLE, -1).sum(dim=0))
    return Setting(
        SIGNAL,
        teacher_size(needs),
        PEOPLE,
        batches_per_epoch=1,
        centres=centres if needs.centres else None,
        rows=made_rows(embeddings) if needs.rows else None,
        student_features=STUDENT_MAP if needs.features else None,
        teacher_features=TEACHER_TOKENS if needs.features else None,
    )


def batch_of(
    images: torch.Tensor, labels: torch.Tensor, needs: Needs, backbone: torch.Tensor, mapping: torch.Tensor
) -> DistillationBatch:
    """What a student of two matrices and the teacher make of images (B, 24).

    Args:
        images: of `made_images`.
        labels: (B,) int64.
        needs: of the method.
        backbone: (24, D) of the student, for its embedding.
        mapping: (24, 48) of the student, for its feature map.
    """
    features: tuple[torch.Tensor, ...] = ()
    if needs.features:
        teacher_features = teach(images, 45).view(-1, *TEACHER_TOKENS)
        features = ((images @ mapping).view(-1, *STUDENT_MAP), teacher_features)
    return DistillationBatch(images @ backbone, teach(images, teacher_size(needs)), labels, *features)


def made_batch(needs: Needs, labels: tuple[int, ...] = LABELS, seed: int = 0) -> DistillationBatch:
    """A batch whose student knows a little; its embeddings and features are leaves with gradient."""
    images = made_images(labels, seed)
    generator = torch.Generator().manual_seed(seed + 1000)
    backbone = torch.randn(SIGNAL + NUISANCE, SIGNAL, generator=generator)
    mapping = torch.randn(SIGNAL + NUISANCE, 48, generator=generator)
    batch = batch_of(images, torch.tensor(labels), needs, backbone, mapping)
    batch = batch._replace(student=batch.student.requires_grad_())
    if batch.student_features is not None:
        batch = batch._replace(student_features=batch.student_features.requires_grad_())
    return batch


def build(name: str, seed: int = 0, **options: Any) -> DistillationMethod:
    torch.manual_seed(seed)
    kind = METHODS[name]
    return kind(kind.options(**options), made_setting(needs_of(name)))


def parameters(method: DistillationMethod) -> list[nn.Parameter]:
    return list(method.parameters()) if isinstance(method, nn.Module) else []


def seeded_loss(method: DistillationMethod, batch: DistillationBatch, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return method(batch).loss


def map_rows(batch: DistillationBatch, change: Callable[[torch.Tensor], torch.Tensor]) -> DistillationBatch:
    return DistillationBatch(*(change(value) if isinstance(value, torch.Tensor) else value for value in batch))


@every_method
def test_it_says_what_it_is(name: str) -> None:
    entry, kind = ENTRIES[name], METHODS[name]
    for text in (entry.summary, entry.source, kind.formula):
        assert text.strip() == text != ""
    assert "\n" not in entry.summary
    assert re.search(r"\bL *= ", kind.formula)
    assert kind.published == kind.published.strip()
    assert max(len(line) for line in kind.formula.splitlines()) <= 120


@every_method
def test_options_are_described_and_defaults_are_valid(name: str) -> None:
    options = METHODS[name].options
    for field, about in options.model_fields.items():
        assert about.description, field
        assert not about.is_required(), field
    assert options.model_validate(options().model_dump()) == options()
    with pytest.raises(ValidationError):
        options(no_such_option=1)


def without_gradient(change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Any:
    """A change of the student's embeddings, given those and the teacher's, that leaves them leaves."""

    def changed(batch: DistillationBatch) -> DistillationBatch:
        return batch._replace(student=change(batch.student.detach().clone(), batch.teacher).requires_grad_())

    return changed


def as_teacher(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The teacher's embeddings where the sizes agree, and as many of its numbers as there is room for otherwise."""
    return teacher[:, : student.shape[1]].clone()


def teacher_is_wrong(batch: DistillationBatch) -> DistillationBatch:
    """People are opposite to themselves, and where somebody else is."""
    rows = torch.arange(len(batch.labels))
    sign = torch.where(rows % 2 == 0, 1.0, -1.0)
    return batch._replace(teacher=batch.teacher[:1] * sign[:, None])


def first_rows_are_zero(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return student.index_fill_(0, torch.tensor([0, 3])[: len(student)].clamp(max=len(student) - 1), 0)


DEGENERATE: dict[str, tuple[tuple[int, ...], Any]] = {
    "one identity": ((2,) * 8, None),
    "no two images of a person": (tuple(range(PEOPLE)), None),
    "two images of one person": ((1, 1), None),
    "two people": ((1, 4), None),
    "identical student embeddings": (LABELS, without_gradient(lambda s, _: s[:1].expand_as(s).clone())),
    "student as the teacher": (LABELS, without_gradient(as_teacher)),
    "student opposite to the teacher": (LABELS, without_gradient(lambda s, t: -as_teacher(s, t))),
    "teacher wrong everywhere": (LABELS, teacher_is_wrong),
    "teacher with one place for all": (LABELS, lambda b: b._replace(teacher=b.teacher[:1].expand_as(b.teacher))),
    "embeddings of length zero": (LABELS, without_gradient(first_rows_are_zero)),
    "all embeddings of length zero": (LABELS, without_gradient(lambda s, _: torch.zeros_like(s))),
    "an image twice": (LABELS, without_gradient(lambda s, _: s[[0, 0, *range(2, len(s))]])),
}


@every_method
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_batches_stay_finite(name: str, case: str) -> None:
    labels, change = DEGENERATE[case]
    batch = made_batch(needs_of(name), labels)
    batch = change(batch) if change else batch
    method = build(name)
    # A second step, which starts from whatever the first has left in the running state.
    for step in range(2):
        torch.manual_seed(step)
        output = method(batch)
        assert output.loss.shape == ()
        assert torch.isfinite(output.loss), output.loss
        for figure, (total, weight) in output.figures.items():
            assert not total.requires_grad, figure
            assert torch.isfinite(total), figure
            assert weight is None or torch.isfinite(weight), figure
        if output.loss.requires_grad:
            output.loss.backward()
    for tensor in (batch.student, batch.student_features, *parameters(method)):
        if tensor is not None and tensor.grad is not None:
            assert torch.isfinite(tensor.grad).all()
            assert tensor.grad.abs().max() < 1e6 or name in HUGE_AT_LENGTH_ZERO
    if isinstance(method, nn.Module):
        assert all(torch.isfinite(value).all() for value in method.state_dict().values())


def draws_at_random(name: str) -> bool:
    batch = made_batch(needs_of(name))
    losses = {seeded_loss(build(name), batch, seed).item() for seed in range(4)}
    return len(losses) > 1


@every_method
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    needs = needs_of(name)
    # A method that draws among the negatives at random draws others in another order. With one image of one other
    # person there is one draw only.
    labels = (0, 0, 1) if draws_at_random(name) else LABELS
    for seed in range(4):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        batch = made_batch(needs, labels, seed)
        expected = seeded_loss(build(name), batch)
        permuted = map_rows(map_rows(batch, torch.Tensor.detach), itemgetter(order))
        permuted.student.requires_grad_()
        found = seeded_loss(build(name), permuted)
        assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
        expected.backward()
        found.backward()
        assert batch.student.grad is not None
        assert permuted.student.grad is not None
        scale = max(1e-3, float(batch.student.grad.abs().max()))
        assert (permuted.student.grad - batch.student.grad[order]).abs().max() <= 1e-3 * scale


@every_method
def test_the_teacher_gets_no_gradient(name: str) -> None:
    batch = made_batch(needs_of(name))
    teacher = batch.teacher.clone().requires_grad_()
    seeded_loss(build(name), batch._replace(teacher=teacher)).backward()
    assert teacher.grad is None or not teacher.grad.any()


@every_method
def test_the_loss_is_float32_whatever_the_autocast_says(name: str) -> None:
    batch = made_batch(needs_of(name))
    expected = seeded_loss(build(name), batch)
    method = build(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = seeded_loss(method, batch)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)
    # And with embeddings that are themselves of half precision, as an autocast backbone gives.
    half = batch._replace(student=batch.student.detach().bfloat16().requires_grad_())
    if half.student_features is not None:
        half = half._replace(student_features=half.student_features.detach().bfloat16())
    method = build(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = seeded_loss(method, half)
    exact = map_rows(half, lambda rows: rows.float() if rows.is_floating_point() else rows)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(seeded_loss(build(name), exact).item(), rel=1e-5, abs=1e-7)


@every_method
def test_a_fresh_method_goes_on_from_the_state_of_another(name: str) -> None:
    needs = needs_of(name)
    method = build(name)
    optimizer = torch.optim.SGD(parameters(method), lr=0.1) if parameters(method) else None
    for step in range(3):
        seeded_loss(method, made_batch(needs, seed=step), step).backward()
        if optimizer:
            optimizer.step()
            optimizer.zero_grad()
    fresh = build(name, seed=5)
    if isinstance(method, nn.Module):
        assert isinstance(fresh, nn.Module)
        file = io.BytesIO()
        torch.save(method.state_dict(), file)
        file.seek(0)
        fresh.load_state_dict(torch.load(file, weights_only=True))
    for step in range(3, 6):
        batch = made_batch(needs, seed=step)
        expected, found = seeded_loss(method, batch, step), seeded_loss(fresh, batch, step)
        assert torch.equal(expected, found)


@every_method
def test_a_step_does_not_wait_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tensors of the device "meta" have shapes and no values: whoever asks for a value fails.
    method = build(name)
    if isinstance(method, nn.Module):
        method.to("meta")
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    batch = map_rows(map_rows(made_batch(needs_of(name)), torch.Tensor.detach), lambda rows: rows.to("meta"))
    batch.student.requires_grad_()
    output = method(batch)
    assert output.loss.device.type == "meta"
    output.loss.backward()


@pytest.mark.parametrize("wait", [torch.Tensor.item, torch.Tensor.nonzero, bool, lambda value: value[value > 0]])
def test_a_wait_would_be_noticed(wait: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        wait(torch.zeros((), device="meta"))


class LinearStudent(nn.Module):
    """An embedding and a feature map, each by a matrix."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.backbone = nn.Parameter(torch.randn(SIGNAL + NUISANCE, SIGNAL, generator=generator) / 5)
        self.mapping = nn.Parameter(torch.randn(SIGNAL + NUISANCE, 48, generator=generator) / 5)

    def batch(self, needs: Needs, images: torch.Tensor, labels: torch.Tensor) -> DistillationBatch:
        return batch_of(images, labels, needs, self.backbone, self.mapping)


def structure(batch: DistillationBatch) -> float:
    """Pearson correlation of the student's cosines between different images with the teacher's."""
    first, second = torch.triu_indices(len(batch.labels), len(batch.labels), 1)
    cosines = []
    for embeddings in (batch.student.detach(), batch.teacher):
        unit = functional.normalize(embeddings)
        cosines.append((unit[first] * unit[second]).sum(dim=1))
    return float(torch.corrcoef(torch.stack(cosines))[0, 1])


@every_method
def test_a_small_student_learns_from_it(name: str) -> None:
    needs = needs_of(name)
    labels = tuple(range(PEOPLE)) * 4
    images = made_images(labels, 5)
    truth = torch.tensor(labels)
    student, untrained, method = LinearStudent(), LinearStudent(), build(name, **WHOLE_STRUCTURE.get(name, {}))
    optimizer = torch.optim.Adam([*student.parameters(), *parameters(method)], lr=0.02)
    for step in range(60):
        optimizer.zero_grad()
        seeded_loss(method, student.batch(needs, images, truth), step).backward()
        optimizer.step()

    def judged(one: LinearStudent) -> float:
        """Its loss by the method as it is now, since a running state or a ramp moves the loss too."""
        with torch.no_grad():
            batch = one.batch(needs, images, truth)
            return sum(seeded_loss(copy.deepcopy(method), batch, seed).item() for seed in range(4)) / 4

    before, after = judged(untrained), judged(student)
    # Where feature maps are compared, mappings that belong to the method learn most of it, for either student.
    assert after < (1 if needs.features else 0.95) * before, (before, after)
    # Nor are feature maps where the structure of the embeddings comes from.
    if needs.teacher and not needs.features:
        gained = structure(student.batch(needs, images, truth)) - structure(untrained.batch(needs, images, truth))
        assert gained > 0.1


def two_steps(names: list[str]) -> dict[str, Any]:
    """Two steps of every method with this process's share of the images, and all that must not depend on the share."""
    kept: dict[str, Any] = {}
    labels = torch.tensor(LABELS)
    own = slice(rank() * len(labels) // ranks(), (rank() + 1) * len(labels) // ranks())
    for name in names:
        needs, method, student = needs_of(name), build(name), LinearStudent()
        trained = [*student.parameters(), *parameters(method)]
        optimizer = torch.optim.SGD(trained, lr=0.01)
        steps = []
        for step in range(2):
            batch = student.batch(needs, made_images(LABELS, step)[own], labels[own])
            if needs.pairs:
                batch = map_rows(batch, gather)
            torch.manual_seed(step)
            output = method(batch)
            output.loss.backward()
            for parameter in trained:
                if parameter.grad is not None:
                    parameter.grad = sum_over_ranks(parameter.grad) / ranks()
            gradients = [torch.zeros(()) if one.grad is None else one.grad.clone() for one in trained]
            loss = sum_over_ranks(output.loss) / ranks()
            figures = {
                key: sum_over_ranks(total) / sum_over_ranks(weight)
                for key, (total, weight) in output.figures.items()
                if weight is not None
            }
            steps.append({"loss": loss, "gradients": gradients, "figures": figures})
            optimizer.step()
            optimizer.zero_grad()
        state = method.state_dict() if isinstance(method, nn.Module) else {}
        kept[name] = {"steps": steps, "state": {key: value.clone() for key, value in state.items()}}
    return kept


def require_equal(found: torch.Tensor, expected: torch.Tensor, case: str) -> None:
    if not expected.is_floating_point():
        assert torch.equal(found, expected), case
        return
    difference = (found - expected).abs().nan_to_num(nan=0.0).max() if expected.numel() else torch.zeros(())
    assert torch.equal(found.isnan(), expected.isnan()), case
    scale = max(1e-2, float(expected.abs().nan_to_num(nan=0.0).max())) if expected.numel() else 1.0
    assert difference <= 2e-5 * scale, f"{case}: {difference} of {scale}"


def test_two_processes_equal_one(tmp_path: Path) -> None:
    both = run_in_two_processes(two_steps, list(ENTRIES), tmp_path=tmp_path)
    alone = two_steps(list(ENTRIES))
    for name, single in alone.items():
        for process, kept in enumerate(one[name] for one in both):
            for step, (found, expected) in enumerate(zip(kept["steps"], single["steps"], strict=True)):
                case = f"{name}, process {process}, step {step}, "
                require_equal(found["loss"], expected["loss"], f"{case} loss")
                for number, pair in enumerate(zip(found["gradients"], expected["gradients"], strict=True)):
                    require_equal(*pair, f"{case} gradient {number}")
                for key, value in expected["figures"].items():
                    if key not in OF_A_PROCESS:
                        require_equal(found["figures"][key], value, case + key)
            for key, value in single["state"].items():
                require_equal(kept["state"][key], value, f"{name}, process {process}, {key}")
        for key, value in both[0][name]["state"].items():
            assert torch.equal(value, both[1][name]["state"][key]), f"{name}: {key} drifts apart"


@pytest.mark.cuda
@every_method
def test_cuda_gives_the_cpu_loss_without_waiting(name: str) -> None:
    needs = needs_of(name)
    method, other = build(name), build(name)
    if isinstance(other, nn.Module):
        other.to("cuda")
    batches = [made_batch(needs, seed=seed) for seed in range(3)]
    on_device = [map_rows(batch, lambda rows: rows.detach().cuda()) for batch in batches]
    for number, (batch, moved) in enumerate(zip(batches, on_device, strict=True)):
        moved.student.requires_grad_()
        try:
            # The first call may wait, for memory and kernels.
            torch.cuda.set_sync_debug_mode("error" if number else "default")
            output = other(moved)
            output.loss.backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        # Draws come from another generator there.
        if not draws_at_random(name):
            assert output.loss.item() == pytest.approx(seeded_loss(method, batch).item(), rel=1e-3, abs=1e-5)
