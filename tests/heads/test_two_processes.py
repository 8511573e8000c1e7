"""Two processes with half of the batch each against one process with all of it, for every head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from facedistill.heads import HEADS, MarginHead, PartialFC, make_head
from facedistill.ranks import rank, ranks, sum_over_ranks

from ..two_processes import run_in_two_processes

NAMES = [entry.name for entry in HEADS]
# An odd number of classes, so that the shards differ in size; rows of whole blocks of torch's random numbers.
CLASSES, SIZE, IMAGES, STEPS = 11, 16, 8, 2


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    lengths = torch.linspace(3, 12, IMAGES)[:, None]
    labels = torch.randint(0, CLASSES, (IMAGES,), generator=generator)
    return torch.randn(IMAGES, SIZE, generator=generator) * lengths, labels


def train(name: str, rate: float | None) -> dict[str, Any]:
    """A few steps of a backbone of one matrix, its gradient averaged as DDP does; all that must not depend on ranks."""
    torch.manual_seed(0)
    head = make_head(name, SIZE, CLASSES, sample_rate=rate)
    assert isinstance(head, MarginHead | PartialFC)
    backbone = torch.nn.Parameter(torch.eye(SIZE))
    # Centres of a length near 1, so that gradients are near 1 too, where float32 has a resolution of 1e-7.
    table = head.sampling.centres if isinstance(head, PartialFC) and head.sampling else head.centres
    with torch.no_grad():
        table.mul_(25)
    kept: dict[str, Any] = {"sharded": head.sharded, "steps": []}
    centres = head.sampling.sampled if isinstance(head, PartialFC) and head.sampling else head.centres
    optimizer = torch.optim.SGD([backbone, centres], lr=0.01, momentum=0.9, weight_decay=0.01)
    head.attach(optimizer)
    for step in range(STEPS):
        torch.manual_seed(step)
        images, labels = batch(step)
        own = slice(rank() * IMAGES // ranks(), (rank() + 1) * IMAGES // ranks())
        embeddings = images[own] @ backbone
        embeddings.retain_grad()
        output = head(embeddings, labels[own])
        output.loss.backward()
        replicated = [backbone] if head.sharded else [backbone, centres]
        for parameter in replicated:
            assert parameter.grad is not None
            parameter.grad = sum_over_ranks(parameter.grad) / ranks()
        assert embeddings.grad is not None
        kept["steps"].append(
            {
                "loss": output.loss.detach() if head.sharded else sum_over_ranks(output.loss) / ranks(),
                "embeddings": embeddings.grad / ranks(),
                "backbone": backbone.grad.clone(),
                "centres": centres.grad.clone(),
                "figures": {
                    key: total / weight if head.sharded else sum_over_ranks(total) / sum_over_ranks(weight)
                    for key, (total, weight) in output.figures.items()
                },
            }
        )
        optimizer.step()
        optimizer.zero_grad()
    kept["statistics"] = head.margin.state_dict()
    kept["chance"] = head.loss_at_chance()
    kept["state"] = {key: value for key, value in head.state_dict().items() if not key.startswith("margin")}
    if isinstance(head, PartialFC):
        kept["bounds"] = (head.start, head.stop)
        kept["rows"] = None if head.sampling is None else head.sampling._rows
    return kept


def train_all(names: list[str]) -> dict[str, Any]:
    return {f"{name} {rate}": train(name, rate) for name in names for rate in (None, 1.0, 0.3)}


def join(kept: list[dict[str, Any]], key: str, step: int, *, shared: bool) -> torch.Tensor:
    values = [one["steps"][step][key] for one in kept]
    if shared:
        assert torch.equal(values[0], values[1])
        return values[0]
    return torch.cat(values)


def require_equal(found: torch.Tensor, expected: torch.Tensor, case: str) -> None:
    """To 1e-6, or to 1e-6 of the largest value where that is above 1: float32 resolves 1e-7 of it."""
    difference = (found - expected).abs().max()
    assert difference <= 1e-6 * max(1.0, float(expected.abs().max())), f"{case}: {difference}"


def test_two_processes_equal_one(tmp_path: Path) -> None:
    both = run_in_two_processes(train_all, NAMES, tmp_path=tmp_path)
    alone = train_all(NAMES)
    for name in NAMES:
        for rate in (None, 1.0):
            kept, single = [one[f"{name} {rate}"] for one in both], alone[f"{name} {rate}"]
            reference = alone[f"{name} None"]
            for step in range(STEPS):
                for key in ("loss", "embeddings", "backbone", "centres"):
                    shared = key in ("loss", "backbone") or (key == "centres" and rate is None)
                    found = join(kept, key, step, shared=shared)
                    for expected in (single["steps"][step][key], reference["steps"][step][key]):
                        case = f"{name}, rate {rate}, step {step}, {key}: "
                        require_equal(found, expected, case)
                for key, figure in single["steps"][step]["figures"].items():
                    torch.testing.assert_close(kept[0]["steps"][step]["figures"][key], figure)
            for key, value in single["statistics"].items():
                torch.testing.assert_close(kept[0]["statistics"][key], value)
                assert torch.equal(kept[0]["statistics"][key], kept[1]["statistics"][key])
            assert kept[0]["chance"] == kept[1]["chance"]
            assert abs(kept[0]["chance"] - reference["chance"]) < 1e-5
        check_sampled([one[f"{name} 0.3"] for one in both], name)


def check_sampled(kept: list[dict[str, Any]], name: str) -> None:
    """Each process keeps to its own classes: those of the batch and random ones, and the loss is everybody's."""
    assert [one["bounds"] for one in kept] == [(0, 6), (6, 11)]
    _, labels = batch(STEPS - 1)
    for one in kept:
        start, stop = one["bounds"]
        here = {label - start for label in labels.tolist() if start <= label < stop}
        assert here <= set(one["rows"].tolist())
        # No less than the images of both processes, as far as there are classes.
        assert len(one["rows"]) == min(IMAGES, stop - start)
    # So few classes all take part, and the sampled head is the whole one.
    whole = train(name, None)
    for step in range(STEPS):
        torch.testing.assert_close(kept[0]["steps"][step]["loss"], whole["steps"][step]["loss"])
        require_equal(join(kept, "embeddings", step, shared=False), whole["steps"][step]["embeddings"], name)
    table = torch.cat([one["state"]["sampling.centres"] for one in kept])
    require_equal(table.view(-1, SIZE), whole["state"]["centres"], name)
