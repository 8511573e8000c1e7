from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import facedistill.distill.cross_architecture as module
from facedistill.distill.cross_architecture import CrossArchitectureDistillation, CrossArchitectureOptions
from facedistill.distill.cross_architecture_mapping import held_fixed
from facedistill.distill.method import METHODS, DistillationBatch, Setting
from facedistill.errors import UsageError
from facedistill.loss import LossAndFigures
from facedistill.models.vit import VisionTransformer

SMALL = {"queries": 4, "width": 8, "buckets": 4}
TEACHER_SIZE = 6


def make_teacher(input_size: int = 32) -> VisionTransformer:
    torch.manual_seed(5)
    teacher = VisionTransformer(4, embedding_size=TEACHER_SIZE, width=0.25, input_size=input_size, depth=2)
    for parameter in teacher.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    teacher(torch.randn(16, 3, input_size, input_size))
    return teacher.eval()


def make(
    *, teacher: nn.Module | None = None, shapes: Any = ((5, 4, 4), (9, 8)), **options: Any
) -> CrossArchitectureDistillation:
    torch.manual_seed(1)
    setting = Setting(
        student_size=7,
        teacher_size=TEACHER_SIZE,
        identities=10,
        student_features=shapes[0],
        teacher_features=shapes[1],
        teacher_backbone=teacher,
    )
    return CrossArchitectureDistillation(CrossArchitectureOptions(**{**SMALL, **options}), setting)


def make_batch(size: int = 6, *, seed: int = 2, dtype: torch.dtype = torch.float32) -> DistillationBatch:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(size, *shape, generator=generator, dtype=torch.float64).to(dtype)

    return DistillationBatch(
        student=draw(7).requires_grad_(),
        teacher=draw(TEACHER_SIZE),
        labels=torch.arange(size) // 2,
        student_features=draw(5, 4, 4).requires_grad_(),
        teacher_features=draw(9, 8),
        teacher_images=draw(3, 32, 32),
    )


def figure(output: LossAndFigures, name: str) -> float:
    total, weight = output.figures[name]
    assert weight is not None
    return (total / weight).item()


def rows(batch: DistillationBatch, chosen: Any) -> DistillationBatch:
    return DistillationBatch(*(None if field is None else field[chosen] for field in batch))  # type: ignore[arg-type]


@pytest.mark.parametrize("prompts", [0, 2])
def test_loss_by_a_slow_loop(prompts: int) -> None:
    teacher = make_teacher().double()
    method = make(teacher=teacher, prompts=prompts, attention=3.0, feature=0.5, keep=0.25).double()
    batch = make_batch(dtype=torch.float64)
    assert batch.student_features is not None
    assert batch.teacher_features is not None
    assert batch.teacher_images is not None
    sums = dict.fromkeys(("attention", "feature", "recalled", "kept"), 0.0)
    for image in range(6):
        features = batch.teacher_features[image][None]
        if method.prompted is not None:
            prompted, features = method.prompted(batch.teacher_images[image][None])
            sums["kept"] += functional.cosine_similarity(prompted, batch.teacher[image][None]).item()
        attention_t, mixed_t = method.mixing(method.teacher_mapping(method.centres, features))
        student = batch.student_features[image][None]
        attention_s, mixed_s = method.mixing(method.student_mapping(method.centres, student))
        gaps = (attention_t - attention_s).flatten().tolist()
        sums["attention"] += sum(gap**2 for gap in gaps) / len(gaps)
        gaps = (mixed_t - mixed_s).flatten().tolist()
        sums["feature"] += sum(gap**2 for gap in gaps) / len(gaps)
        recalled = method.recall.weight @ mixed_t.flatten() + method.recall.bias
        sums["recalled"] += functional.cosine_similarity(recalled, batch.teacher[image], dim=0).item()
    means = {name: total / 6 for name, total in sums.items()}
    expected = 3 * means["attention"] + 0.5 * means["feature"] + 1 - means["recalled"]
    expected += 0.25 * (1 - means["kept"]) if prompts else 0
    output = method(batch)
    assert output.loss.item() == pytest.approx(expected, rel=1e-9)
    for name in ("attention", "feature", "recalled", *(("kept",) if prompts else ())):
        assert figure(output, name) == pytest.approx(means[name], rel=1e-9)
    assert ("kept" in output.figures) == bool(prompts)


def test_gradient_of_the_student() -> None:
    method = make(shapes=((5, 2, 2), (9, 8))).double()
    batch = make_batch(2, dtype=torch.float64)
    assert batch.student_features is not None
    start = batch.student_features[:, :, 1:3, 1:3].detach().clone().requires_grad_()

    def loss(features: torch.Tensor) -> torch.Tensor:
        output: LossAndFigures = method(batch._replace(student_features=features))
        return output.loss

    assert torch.autograd.gradcheck(loss, (start,))


def test_who_learns_from_what() -> None:
    """The target's side learns from the recall alone, the student's and the prompts from the two terms of the paper."""
    method = make(teacher=make_teacher(), prompts=2)
    batch = make_batch()
    assert batch.student_features is not None
    assert method.prompted is not None
    attention, feature, _ = method.compare(batch.student_features, method.prompted(batch.teacher_images)[1])
    (attention + feature).backward()
    reached = {name for name, value in method.named_parameters() if value.grad is not None}
    assert reached == {"prompted.prompts", *(f"student_mapping.{name}" for name in ("table", "query.weight"))} | {
        "student_mapping.key.weight",
        "student_mapping.value.weight",
    }
    assert batch.student_features.grad is not None
    assert batch.student_features.grad.abs().sum() > 0
    method.zero_grad()
    silent = make(teacher=make_teacher(), prompts=2, attention=0, feature=0, keep=0)
    silent(batch).loss.backward()
    assert silent.prompted is not None
    assert silent.prompted.prompts.grad is not None
    assert silent.prompted.prompts.grad.abs().sum() == 0
    functional.cosine_similarity(method.recalled(torch.randn(6, 9, 8)), batch.teacher).mean().backward()
    learning = {name.split(".")[0] for name, value in method.named_parameters() if value.grad is not None}
    assert learning == {"teacher_mapping", "centres", "mixing", "recall"}


def test_every_parameter_gets_a_gradient() -> None:
    """Processes that train together exchange the gradients of all; one that is missing would hold them up."""
    method = make(teacher=make_teacher())
    batch = make_batch()
    method(batch).loss.backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert batch.student.grad is not None
    assert batch.student.grad.abs().sum() == 0


def test_a_student_with_the_teachers_features_and_mapping_has_nothing_to_learn() -> None:
    method = make(shapes=((9, 8), (9, 8)))
    method.student_mapping.load_state_dict(method.teacher_mapping.state_dict())
    batch = make_batch()
    output = method(batch._replace(student_features=batch.teacher_features))
    assert figure(output, "attention") == pytest.approx(0, abs=1e-12)
    assert figure(output, "feature") == pytest.approx(0, abs=1e-12)


def test_order_of_the_batch_and_mean_of_halves() -> None:
    """It is a mean over images, so two processes with half the batch each have the loss of one with the whole."""
    method = make(teacher=make_teacher())
    batch = make_batch()
    loss = method(batch).loss
    torch.testing.assert_close(method(rows(batch, torch.randperm(6))).loss, loss)
    halves = [method(rows(batch, slice(0, 3))), method(rows(batch, slice(3, 6)))]
    torch.testing.assert_close((halves[0].loss + halves[1].loss) / 2, loss)
    for name in ("attention", "feature", "recalled", "kept"):
        assert sum(figure(half, name) for half in halves) / 2 == pytest.approx(figure(method(batch), name), rel=1e-4)


@pytest.mark.parametrize("case", ["one image", "zeros", "all alike", "zero teacher", "huge", "tiny"])
@pytest.mark.parametrize("prompts", [0, 2])
def test_degenerate_batches(case: str, prompts: int) -> None:
    method = make(teacher=make_teacher(), prompts=prompts)
    batch = make_batch(1 if case == "one image" else 6)
    scale = {"zeros": 0.0, "huge": 1e12, "tiny": 1e-12}.get(case, 1.0)
    assert batch.student_features is not None
    assert batch.teacher_features is not None
    student = (scale * batch.student_features).detach()
    teacher = scale * batch.teacher_features
    embeddings = batch.teacher * (0 if case == "zero teacher" else 1)
    if case == "all alike":
        student, teacher = student[:1].repeat(6, 1, 1, 1), teacher[:1].repeat(6, 1, 1)
    student.requires_grad_()
    output = method(batch._replace(teacher=embeddings, student_features=student, teacher_features=teacher))
    assert torch.isfinite(output.loss)
    output.loss.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in method.parameters() if parameter.grad is not None)
    assert all(torch.isfinite(total) for total, _ in output.figures.values())
    if prompts == 0 and case in ("one image", "all alike"):
        assert figure(output, "spread") == pytest.approx(0, abs=1e-9)


def test_autocast_makes_no_difference() -> None:
    method = make()
    batch = make_batch()
    expected = method(batch).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = method(batch)
    assert output.loss.dtype == torch.float32
    assert torch.equal(output.loss, expected)
    assert batch.student_features is not None
    rounded = method(batch._replace(student_features=batch.student_features.bfloat16()))
    assert rounded.loss.dtype == torch.float32
    torch.testing.assert_close(rounded.loss, expected, rtol=0.02, atol=0)


class NoWaiting(TorchDispatchMode):
    """Refuses what would read a value from the device, or make a tensor whose size depends on one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket not in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero)
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device() -> None:
    method = make(teacher=make_teacher())
    batch = make_batch()
    with NoWaiting():
        method(batch).loss.backward()
        with pytest.raises(AssertionError):
            batch.labels.sum().item()


def step(method: CrossArchitectureDistillation, optimizer: torch.optim.Optimizer, seed: int) -> float:
    output = method(make_batch(seed=seed))
    optimizer.zero_grad()
    output.loss.backward()
    optimizer.step()
    return output.loss.item()


def test_a_saved_state_goes_on_as_if_nothing_had_happened() -> None:
    teacher = make_teacher()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    method = make(teacher=teacher, prompts=2)
    assert method.prompted is not None
    start = method.prompted.prompts.detach().clone()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    for seed in range(3):
        step(method, optimizer, seed)
    assert not torch.equal(method.prompted.prompts, start)
    state = {key: value.clone() for key, value in method.state_dict().items()}
    assert not any("patches" in key or "blocks" in key for key in state)
    losses = [step(method, optimizer, seed) for seed in (3, 4)]
    other = make(teacher=make_teacher(), prompts=2)
    other.load_state_dict(state)
    assert [step(other, torch.optim.SGD(other.parameters(), lr=0.1), seed) for seed in (3, 4)] == losses
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def train(method: CrossArchitectureDistillation, teacher: VisionTransformer) -> list[LossAndFigures]:
    """Forty steps of a linear student on images of eight people."""
    torch.manual_seed(3)
    people = torch.randn(8, 3, 32, 32)
    student = nn.Conv2d(3, 5, 8, 8)
    optimizer = torch.optim.Adam([*student.parameters(), *method.parameters()], lr=0.01)
    outputs = []
    for _ in range(40):
        labels = torch.randint(8, (16,))
        images = people[labels] + 0.3 * torch.randn(16, 3, 32, 32)
        features = student(images)
        with torch.no_grad():
            embeddings = teacher(images)
            tokens = teacher.patches(images).flatten(2).transpose(1, 2) + teacher.positions
            tokens = teacher.tail(teacher.blocks(tokens))
        batch = DistillationBatch(features.flatten(1), embeddings, labels, features, tokens, images)
        outputs.append(method(batch))
        optimizer.zero_grad()
        outputs[-1].loss.backward()
        optimizer.step()
    return outputs


@pytest.mark.parametrize("prompts", [0, 2])
def test_the_local_features_do_not_collapse(prompts: int) -> None:
    teacher = make_teacher()
    outputs = train(make(teacher=teacher, prompts=prompts), teacher)
    spread = [figure(output, "spread") for output in outputs]
    assert spread[-1] > 0.3
    assert figure(outputs[-1], "recalled") > 0.5
    assert figure(outputs[-1], "feature") < 0.5 * figure(outputs[0], "feature")
    if prompts:
        assert figure(outputs[-1], "kept") > 0.9


def test_without_the_safeguards_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other test guards against: with gradient to both sides of the terms alone, all images become one."""
    teacher = make_teacher()
    method = make(teacher=teacher, prompts=0)
    monkeypatch.setattr(module, "held_fixed", lambda called, *inputs: called(*inputs))
    monkeypatch.setattr(method, "recalled", lambda features: torch.zeros(len(features), TEACHER_SIZE))
    spread = [figure(output, "spread") for output in train(method, teacher)]
    assert spread[0] > 0.3
    assert spread[-1] < 0.01
    assert held_fixed is not module.held_fixed


def test_prompts_by_default_for_a_transformer_alone() -> None:
    prompted = make(teacher=make_teacher()).prompted
    assert prompted is not None
    assert prompted.prompts.shape[1] == module.PROMPTS
    assert make(teacher=nn.Linear(2, 2)).prompted is None
    assert make().prompted is None


def test_refusals() -> None:
    with pytest.raises(UsageError, match="compares feature maps, and there are none"):
        make(shapes=(None, None))
    with pytest.raises(UsageError, match="the teacher is a Linear"):
        make(teacher=nn.Linear(2, 2), prompts=2)
    with pytest.raises(UsageError, match="prompts go into a live torch teacher"):
        make(prompts=2)
    with pytest.raises(ValidationError, match="such as 9 or 16"):
        make(queries=10)
    with pytest.raises(ValidationError, match="multiple of 4"):
        make(width=10)


def test_it_is_registered() -> None:
    kind = METHODS["cross-architecture"]
    needs = kind.needs(kind.options())
    assert needs.teacher
    assert needs.features
    assert not needs.pairs
    assert all("ours" in (field.description or "") for field in kind.options.model_fields.values())
