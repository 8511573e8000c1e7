"""Triplet distillation and its baseline against the paper's formulas, one triplet after the other."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from facedistill.distill.distance import pairwise_distance
from facedistill.distill.margins import MarginMap
from facedistill.distill.method import METHODS, DistillationBatch, Setting
from facedistill.distill.mining import Mining
from facedistill.distill.terms import make_term
from facedistill.distill.triplet import (
    MiningOptions,
    TripletDistillation,
    TripletDistillationOptions,
    TripletLoss,
    TripletOptions,
    mine,
    needs_of,
)
from facedistill.errors import UsageError
from facedistill.loss import LossAndFigures
from facedistill.ranks import gather, rank, ranks, sum_over_ranks

from ..two_processes import run_in_two_processes
from .test_mining import Watch, triplets_in, triplets_of

SETTING = Setting(student_size=6, teacher_size=9, identities=5)
MAPS: tuple[MarginMap, ...] = get_args(MarginMap)
MININGS: tuple[Mining, ...] = get_args(Mining)
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 3, 4])


def distilling(**options: Any) -> TripletDistillation:
    return TripletDistillation(TripletDistillationOptions(**options), SETTING)


def fixed(**options: Any) -> TripletLoss:
    return TripletLoss(TripletOptions(**options), SETTING)


def made_up(seed: int, dtype: torch.dtype = torch.float64) -> DistillationBatch:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(10, 6, generator=generator, dtype=dtype)
    # A teacher that knows people, though not always.
    teacher = torch.randn(5, 9, generator=generator, dtype=dtype)[LABELS]
    teacher = teacher + torch.randn(10, 9, generator=generator, dtype=dtype)
    return DistillationBatch(student, teacher * 7, LABELS)


def value_of(output: LossAndFigures, name: str) -> float:
    total, weight = output.figures[name]
    return float(total if weight is None else total / weight)


def unit(rows: list[list[float]]) -> list[list[float]]:
    return [[value / math.sqrt(sum(v * v for v in row)) for value in row] for row in rows]


def slow_distance(a: list[float], b: list[float], kind: str) -> float:
    if kind == "angle":
        return math.acos(max(-1.0, min(1.0, sum(x * y for x, y in zip(a, b, strict=True)))))
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


class SlowMargins:
    """The formulas of the maps, one gap after the other, m_min 0.2 and m_max 0.5."""

    def __init__(self, options: TripletDistillationOptions) -> None:
        self.options = options
        self.range: tuple[float, float] | None = None

    def __call__(self, gaps: list[float], drawn: list[float]) -> list[float]:
        options = self.options
        now = [float(np.percentile(drawn, percent)) for percent in (options.low_percent, options.high_percent)]
        if self.range is None:
            self.range = (now[0], now[1])
        else:
            kept = options.momentum
            self.range = (kept * self.range[0] + (1 - kept) * now[0], kept * self.range[1] + (1 - kept) * now[1])
        low, high = self.range
        if options.d_max == "batch" and options.margin_map != "spread":
            high = max(gaps)
        margins = []
        for d in gaps:
            if options.margin_map == "gap":
                margins.append(min(max(d, 0.2), 0.5))
                continue
            if options.margin_map == "rank":
                share = sum(other < d for other in drawn) / max(len(drawn) - 1, 1)
            elif options.margin_map == "spread":
                share = (d - low) / (high - low)
            else:
                share = min(d / high, 1) ** (options.exponent if options.margin_map == "power" else 1)
            margins.append(0.2 + 0.3 * min(max(share, 0), 1))
        return margins


def mined_triplets(batch: DistillationBatch, options: MiningOptions) -> tuple[list[Any], list[Any]]:
    """What a method learns from, and one triplet a pair, by the same random numbers."""
    mined = mine(batch, options)
    drawn = triplets_of(mined.drawn)
    return triplets_in(mined.blocks()) if options.mining in ("all", "all-semi-hard") else drawn, drawn


@pytest.mark.parametrize(("margin_map", "d_max"), [*((name, "batch") for name in MAPS), ("linear", "percentile")])
@pytest.mark.parametrize("rule", MININGS)
@pytest.mark.parametrize("kind", ["squared-l2", "angle"])
def test_loss_and_margins_equal_a_slow_loop(kind: str, rule: Mining, margin_map: MarginMap, d_max: str) -> None:
    options = TripletDistillationOptions(
        mining=rule, distance=kind, margin_map=margin_map, d_max=d_max, nearest=2, momentum=0.6, exponent=3.0
    )
    method, slow_margins = TripletDistillation(options, SETTING), SlowMargins(options)
    for seed in range(3):  # one after the other, so that running percentiles move
        batch = made_up(seed)
        torch.manual_seed(seed)
        output = method(batch)
        torch.manual_seed(seed)
        triplets, drawn = mined_triplets(batch, options)
        assert len(triplets) > 5
        s, t = unit(batch.student.tolist()), unit(batch.teacher.tolist())

        def gap_of(triplet: tuple[int, int, int], t: list[list[float]] = t) -> float:
            a, p, n = triplet
            return max(slow_distance(t[a], t[n], kind) - slow_distance(t[a], t[p], kind), 0.0)

        margins = slow_margins([gap_of(one) for one in triplets], [gap_of(one) for one in drawn])
        losses = [
            max(slow_distance(s[a], s[p], kind) - slow_distance(s[a], s[n], kind) + margin, 0.0)
            for (a, p, n), margin in zip(triplets, margins, strict=True)
        ]
        # The cosine is kept 1e-6 from +-1 in angles, and running percentiles are float32, which shows in the digits.
        assert output.loss.item() == pytest.approx(sum(losses) / len(losses), rel=2e-6)
        assert value_of(output, "margin") == pytest.approx(sum(margins) / len(margins), rel=2e-6)
        assert value_of(output, "triplets") == len(triplets)
        assert value_of(output, "active") == pytest.approx(sum(loss > 0 for loss in losses) / len(losses))
        bins = [value_of(output, f"margin_{number}of5") for number in range(1, 6)]
        assert sum(bins) == pytest.approx(1)
        if all(abs(margin - edge) > 1e-5 for margin in margins for edge in (0.26, 0.32, 0.38, 0.44)):
            expected = np.histogram(margins, bins=5, range=(0.2 - 1e-9, 0.5 + 1e-9))[0] / len(margins)
            assert bins == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("rule", MININGS)
def test_the_baseline_equals_a_slow_loop(rule: Mining) -> None:
    batch = made_up(0)
    for mean, hinge in (("triplets", "linear"), ("active", "linear"), ("triplets", "squared"), ("active", "squared")):
        options = TripletOptions(mining=rule, margin=0.3, mean=mean, hinge=hinge, nearest=2)
        torch.manual_seed(0)
        output = TripletLoss(options, SETTING)(batch)
        torch.manual_seed(0)
        triplets, _ = mined_triplets(batch, options)
        s = unit(batch.student.tolist())
        losses = [max(slow_distance(s[a], s[p], "") - slow_distance(s[a], s[n], "") + 0.3, 0) for a, p, n in triplets]
        count = len(losses) if mean == "triplets" else sum(loss > 0 for loss in losses)
        power = 2 if hinge == "squared" else 1
        assert output.loss.item() == pytest.approx(sum(loss**power for loss in losses) / count)
        assert "margin_1of5" not in output.figures


def test_a_teacher_without_a_gap_gives_the_fixed_margin_loss() -> None:
    batch = made_up(3)._replace(teacher=torch.ones(10, 5))
    torch.manual_seed(0)
    distilled = distilling()(batch)
    torch.manual_seed(0)
    assert distilled.loss.item() == pytest.approx(fixed(margin=0.2)(batch).loss.item())
    assert distilled.loss.item() > 0


def test_a_teacher_that_is_wrong_everywhere_gives_the_lowest_margin() -> None:
    # To the teacher each image of a person is far from the person's others, and like somebody else's.
    batch = DistillationBatch(
        torch.randn(4, 6), torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]]), torch.tensor([0, 0, 1, 1])
    )
    for margin_map in MAPS:
        output = distilling(mining="hard", margin_map=margin_map)(
            batch._replace(student=batch.teacher.clone().requires_grad_())
        )
        assert value_of(output, "teacher_gap") < 0
        assert value_of(output, "margin") == pytest.approx(0.2)
        assert torch.isfinite(output.loss)


@pytest.mark.parametrize("rule", MININGS)
@pytest.mark.parametrize("kind", ["squared-l2", "angle"])
def test_gradient_by_finite_differences(rule: Mining, kind: str) -> None:
    batch = made_up(1)
    student = batch.student.clone().requires_grad_()
    # A band without an end keeps the choice of triplets from changing under a small step.
    method = distilling(mining=rule, distance=kind, alpha=100.0)

    def loss(embeddings: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return method(batch._replace(student=embeddings)).loss

    assert loss(student).item() > 0
    assert torch.autograd.gradcheck(loss, (student,), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("margin_map", MAPS)
def test_no_gradient_flows_through_the_margin(margin_map: MarginMap) -> None:
    teacher = torch.randn(10, 4, requires_grad=True)
    student = torch.randn(10, 4, requires_grad=True)
    distilling(alpha=100.0, margin_map=margin_map)(DistillationBatch(student, teacher, LABELS)).loss.backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize(("rule", "margin_map"), [*itertools.product(MININGS, ("spread",)), ("semi-hard", "linear")])
@pytest.mark.parametrize("labels", [[0] * 4, [0, 1, 2, 3], [0, 1], [5, 5], [5]])
def test_a_batch_without_a_triplet_gives_zero(labels: list[int], rule: Mining, margin_map: MarginMap) -> None:
    for method in (distilling(mining=rule, margin_map=margin_map), fixed(mining=rule)):
        student = torch.randn(len(labels), 6, requires_grad=True)
        output = method(DistillationBatch(student, torch.randn(len(labels), 9), torch.tensor(labels)))
        output.loss.backward()
        assert output.loss.item() == 0
        assert student.grad is not None
        assert student.grad.abs().sum().item() == 0
        assert all(torch.isfinite(total) for total, _ in output.figures.values())
        assert output.figures["triplets"].total.item() == 0
    state = distilling(mining=rule, margin_map=margin_map).state_dict()
    assert not state["range.known"]


@pytest.mark.parametrize("rule", MININGS)
@pytest.mark.parametrize("kind", ["squared-l2", "angle"])
@pytest.mark.parametrize("row", [0.0, 1.0])
def test_identical_and_zero_embeddings_have_finite_gradients(row: float, kind: str, rule: Mining) -> None:
    student = torch.full((6, 4), row, requires_grad=True)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    method = distilling(mining=rule, distance=kind)
    output = method(DistillationBatch(student, torch.randn(6, 4), labels))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert student.grad is not None
    assert student.grad.abs().max() < 10


def test_what_is_not_finite_shows_in_the_loss() -> None:
    student = torch.randn(10, 6)
    student[2, 1] = torch.nan
    assert torch.isnan(distilling()(DistillationBatch(student, torch.randn(10, 9), LABELS)).loss)


def test_half_precision_and_autocast_give_the_loss_of_float32() -> None:
    batch = made_up(0, torch.float32)
    for method in (distilling(mining="all"), fixed(mining="all")):
        expected = method(batch).loss
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert method(batch).loss.item() == expected.item()
        half = method(batch._replace(student=batch.student.bfloat16())).loss
        assert half.dtype == torch.float32
        assert half.item() == method(batch._replace(student=batch.student.bfloat16().float())).loss.item()


@pytest.mark.parametrize(
    ("rule", "margin_map"),
    # "rank" and "spread" measure gaps by one triplet a pair, which of all is a random one.
    [*itertools.product(("all", "all-semi-hard"), ("linear", "power", "gap")), *(("hard", name) for name in MAPS)],
)
def test_order_scale_and_the_turn_of_a_space_do_not_matter(rule: Mining, margin_map: MarginMap) -> None:
    batch = made_up(5)
    options = {"mining": rule, "margin_map": margin_map}
    expected = distilling(**options)(batch).loss.item()
    turned, _ = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64))
    order = torch.randperm(10)
    for other in (
        batch._replace(teacher=batch.teacher @ turned),
        batch._replace(student=batch.student * torch.rand(10, 1, dtype=torch.float64) * 50),
        DistillationBatch(*(rows[order] for rows in batch[:3] if rows is not None)),
    ):
        assert distilling(**options)(other).loss.item() == pytest.approx(expected, rel=1e-6)


def test_running_percentiles_are_saved_and_resumed() -> None:
    options = {"margin_map": "spread", "momentum": 0.5}
    method = distilling(**options)
    for seed in range(3):
        method(made_up(seed))
    resumed = distilling(**options)
    resumed.load_state_dict(method.state_dict())
    fresh = distilling(**options)
    losses = []
    for one in (method, resumed, fresh):
        torch.manual_seed(0)
        losses.append([one(made_up(seed)).loss.item() for seed in range(3, 6)])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin_min": 0.6, "margin_max": 0.5}, "margin_min is 0.6 and margin_max 0.5, the lowest above the highest"),
        ({"low_percent": 60, "high_percent": 50}, "low_percent is 60 and high_percent 50, it has to be the lower"),
        ({"alpha": 0}, "alpha is 0"),
        ({"margin_min": -0.1}, "margin_min is -0.1"),
        ({"distance": "manhattan"}, "distance is 'manhattan'"),
        ({"mining": "soft"}, "mining is 'soft'"),
        ({"nearest": 0}, "nearest is 0"),
        ({"momentum": 1}, "momentum is 1"),
        ({"margin": 0.3}, "margin is 0.3"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError):
        TripletDistillationOptions(**options)
    with pytest.raises(UsageError, match=message):
        make_term("triplet-distillation", **options)


def test_who_needs_a_teacher() -> None:
    assert needs_of(TripletDistillationOptions(margin_min=0.3, margin_max=0.3)).teacher
    assert not METHODS["triplet"].needs(TripletOptions()).teacher
    assert METHODS["triplet"].needs(TripletOptions(mining="teacher")).teacher
    for name in ("triplet", "triplet-distillation"):
        needs = METHODS[name].needs(METHODS[name].options())
        assert needs.pairs
        assert needs.several_images_per_identity
        assert not needs.equal_sizes


@pytest.mark.parametrize("margin_map", MAPS)
@pytest.mark.parametrize("rule", MININGS)
def test_a_step_waits_for_no_device(rule: Mining, margin_map: MarginMap) -> None:
    batch = made_up(0)
    # As a training tells it; the labels would otherwise be counted, which is waiting anywhere but on the CPU.
    batch = batch._replace(largest_identity=int(batch.labels.bincount().max()))
    for d_max in ("batch", "percentile"):
        method = distilling(mining=rule, margin_map=margin_map, d_max=d_max)
        with Watch() as watch:
            output = method(batch._replace(student=batch.student.clone().requires_grad_()))
            output.loss.backward()
        assert watch.waits == []


def test_mining_by_the_teacher_takes_its_look_alikes() -> None:
    batch = made_up(2)
    torch.manual_seed(0)
    confused, any_negative = (
        value_of(distilling(mining=rule, nearest=1, d_max="percentile")(batch), "teacher_gap")
        for rule in ("teacher", "all")
    )
    assert confused < any_negative


CASES: list[dict[str, Any]] = [
    {"mining": "semi-hard", "d_max": "percentile"},
    {"mining": "teacher", "margin_map": "spread"},
    {"mining": "all", "margin_map": "rank", "distance": "angle"},
    {"mining": "all-semi-hard", "margin_map": "power", "mean": "active", "hinge": "squared"},
]


def train() -> list[dict[str, Any]]:
    """Some steps of a backbone of one matrix, its gradient averaged as DDP does; what must not depend on ranks."""
    kept = []
    for case in CASES:
        method = distilling(momentum=0.5, **case)
        backbone = torch.nn.Parameter(torch.eye(6))
        for step in range(3):
            torch.manual_seed(step)
            images, teacher = torch.randn(12, 6), torch.randn(12, 9)
            labels = torch.randint(0, 4, (12,))
            own = slice(rank() * 12 // ranks(), (rank() + 1) * 12 // ranks())
            rows = (gather(images[own] @ backbone), gather(teacher[own]), gather(labels[own]))
            output = method(DistillationBatch(*rows))
            output.loss.backward()
            assert backbone.grad is not None
            gradient = sum_over_ranks(backbone.grad) / ranks()
            backbone.grad = None
            figures = {name: value_of(output, name) for name in output.figures}
            kept.append({"loss": output.loss.item(), "gradient": gradient, "figures": figures})
            with torch.no_grad():
                backbone -= 0.1 * gradient
        kept[-1]["state"] = {name: value.clone() for name, value in method.state_dict().items()}
    return kept


def test_two_processes_equal_one(tmp_path: Path) -> None:
    both, alone = run_in_two_processes(train, tmp_path=tmp_path), train()
    assert all(one["loss"] > 0 for one in alone)
    for kept in both:
        torch.testing.assert_close(kept, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.cuda
def test_cuda_gives_the_cpu_loss() -> None:
    student, teacher = torch.randn(12, 8), torch.randn(12, 8)
    labels = torch.arange(12) // 3
    batch = DistillationBatch(student, teacher, labels)
    on_device = DistillationBatch(student.cuda(), teacher.cuda(), labels.cuda())
    # Minings that draw nothing: the generators of the devices differ.
    for kind, rule in itertools.product(("squared-l2", "angle"), ("all", "all-semi-hard", "hard")):
        distance = pairwise_distance(student, kind)  # type: ignore[arg-type]
        assert torch.allclose(distance, pairwise_distance(student.cuda(), kind).cpu(), atol=1e-5)  # type: ignore[arg-type]
        expected = distilling(distance=kind, mining=rule)(batch)
        found = distilling(distance=kind, mining=rule).cuda()(on_device)
        assert found.loss.item() == pytest.approx(expected.loss.item(), abs=1e-5)
        assert value_of(found, "triplets") == value_of(expected, "triplets")
    for rule in MININGS:
        method = distilling(mining=rule, margin_map="spread").cuda()
        torch.cuda.set_sync_debug_mode("error")
        try:
            output = method(on_device)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.isfinite(output.loss)
