"""The fault as a user meets it: a channel that training hardly saw moving, and then a face under a cap."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from facedistill.models import build_backbone
from facedistill.training.batch_norm import MOVED, VANISHED, Findings, examine, far_norms, helps, repair

SIZE, BATCH, BATCHES = 32, 16, 8
RARE = 7  # which images of the last batch wear a cap


class Net(nn.Module):
    """Channel 0 of the first norm sees nothing but how red an image is where red is rare."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.embed = nn.Linear(4, 8, bias=False)
        with torch.no_grad():
            self.first.weight[0] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
            self.embed.weight[:, 0] *= 0.25

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.embed(self.norm(self.first(images)).mean(dim=(2, 3)))
        return output


def batches(*, rare: bool = True) -> Iterator[torch.Tensor]:
    """Images without any red, but for one of the last batch."""
    generator = torch.Generator().manual_seed(0)
    for number in range(BATCHES):
        images = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator)
        images += torch.randn(BATCH, 3, 1, 1, generator=generator)
        images[:, 0] = 0
        if rare and number == BATCHES - 1:
            images[RARE, 0] = 1
        yield images


def trained(images: list[torch.Tensor] | None = None) -> Net:
    """A net whose running statistics have converged on images that have no red, or on others."""
    torch.manual_seed(0)
    net = Net().train()
    with torch.no_grad():
        for _ in range(20):
            for batch in batches(rare=False) if images is None else images:
                net(batch)
    return net


def buffers(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.named_buffers()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_channel_and_the_outlier_are_found() -> None:
    net = trained()
    assert float(net.norm.running_var[0]) < VANISHED
    findings = examine(net, batches())
    assert (findings.vanished, findings.channels) == ({"norm": 1}, 4)
    assert (findings.outliers, findings.images) == (1, BATCH * BATCHES)
    # 1 / sqrt(1e-5) = 316 where the other channels give about 1.
    assert findings.longest > 20
    first = "1 of 4 batch-norm channels explode for rare images, since their variance vanishes (first in norm)"
    assert findings.describe() == (
        f"{first} and 1 of 128 embeddings are far from the median length "
        f"({findings.shortest:.2g} to {findings.longest:.2g} times it)"
    )
    assert not findings.sound


def test_the_channel_is_found_though_no_embedding_is_far_off() -> None:
    net = trained()
    with torch.no_grad():
        net.embed.weight[:, 0] = 0
    findings = examine(net, batches())
    assert (findings.vanished, findings.outliers) == ({"norm": 1}, 0)


def test_new_statistics_repair_it() -> None:
    net = trained()
    found = repair(net, batches)
    assert found is not None
    before, after = found
    assert (before.outliers, after.outliers) == (1, 0)
    assert after.sound
    assert after.describe() == "nothing"
    # The mean over eight batches, of which one has a variance: of one image in sixteen that is 1 and not 0.
    variance = (1 / 16 - 1 / 256) * (16 * SIZE**2) / (16 * SIZE**2 - 1) / BATCHES
    assert float(net.norm.running_var[0]) == pytest.approx(variance, rel=1e-4)
    assert float(net.norm.running_mean[0]) == pytest.approx(1 / 128, rel=1e-4)  # type: ignore[index]
    assert (net.norm.momentum, int(net.norm.num_batches_tracked)) == (0.1, BATCHES)  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored(training: bool) -> None:
    net = trained().train(training)
    examine(net, batches())
    assert all(module.training is training for module in net.modules())
    assert repair(net, batches) is not None
    assert all(module.training is training for module in net.modules())
    assert net.norm._forward_hooks == {}


def test_the_mode_is_restored_when_images_cannot_be_had() -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield next(batches())
        raise OSError

    net = trained()
    with pytest.raises(OSError):  # noqa: PT011
        examine(net, broken())
    assert net.training
    assert net.norm._forward_hooks == {}


def test_statistics_that_do_not_help_are_not_kept() -> None:
    # Far from all others whatever the statistics are.
    wild = list(batches(rare=False))
    for images in wild:
        images[3, 1:] = 1e4
    net = trained(wild)
    before = buffers(net)
    found = repair(net, lambda: wild)
    assert found is not None
    assert found[0] == found[1]
    assert found[0].outliers == BATCHES
    assert equal(before, buffers(net))


def test_embeddings_that_are_one_point_in_evaluation_mode() -> None:
    # A net that has moved faster than its running statistics.
    net = trained(list(batches(rare=False)))
    with torch.no_grad():
        net.norm.running_mean += 30
    assert examine(net, batches(rare=False)).similarity > 0.95
    found = repair(net, lambda: batches(rare=False))
    assert found is not None
    assert found[1].sound
    assert found[1].similarity < 0.5


def test_a_constant_channel_is_no_fault() -> None:
    net = trained()
    before = buffers(net)
    assert float(net.norm.running_var[0]) < VANISHED
    assert repair(net, lambda: batches(rare=False)) is None
    assert equal(before, buffers(net))


def test_how_far_a_vanished_channel_may_move() -> None:
    net = trained()
    with torch.no_grad():
        for share, vanished in ((0.9, {}), (1.1, {"norm": 1})):
            images = next(batches(rare=False))
            images[RARE, 0, 0, 0] = share * MOVED * net.norm.eps**0.5
            assert examine(net, [images]).vanished == vanished


@pytest.mark.parametrize("name", ["tinyfacenet", "mobilefacenet", "iresnet18", "ghostfacenet", "vit-tiny"])
def test_healthy_networks_are_left_alone(name: str) -> None:
    torch.manual_seed(0)
    net = build_backbone(name, embedding_size=16, width=0.125, input_size=SIZE).train()
    with torch.no_grad():
        for _ in range(6):
            for images in batches(rare=False):
                net(images)
    before = copy.deepcopy(net.state_dict())
    assert repair(net, lambda: batches(rare=False)) is None
    assert equal(before, net.state_dict())


def test_a_network_without_batch_norms() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.LayerNorm(3 * SIZE**2), nn.Linear(3 * SIZE**2, 64))
    findings = examine(net, batches())
    assert (findings.channels, findings.vanished, findings.images) == (0, {}, BATCH * BATCHES)
    assert repair(net, batches) is None
    # No statistics can help where there are none.
    before = copy.deepcopy(net.state_dict())
    found = repair(net, lambda: [torch.ones(2, 3, SIZE, SIZE)])
    assert found is not None
    assert found[0] == found[1]
    assert found[0].describe() == "all embeddings are nearly one point (mean cosine of two images 1.000)"
    assert equal(before, net.state_dict())


def test_norms_without_statistics_are_passed_over() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    assert examine(net, batches()).vanished == {}


def test_far_norms_by_hand() -> None:
    lengths = torch.tensor([1, 1, 1, 4.9, 5.1, 0.21, 0.19])
    rows = torch.nn.functional.normalize(torch.randn(7, 3)) * lengths[:, None]
    outliers, shortest, longest = far_norms(rows)
    assert outliers == 2
    assert (shortest, longest) == (pytest.approx(0.19), pytest.approx(5.1))
    assert far_norms(rows.bfloat16())[0] == 2
    rows[0, 0], rows[1, 0] = torch.nan, torch.inf
    assert far_norms(rows)[0] == 4
    assert far_norms(torch.full((3, 2), torch.nan)) == (3, torch.inf, torch.inf)
    assert far_norms(torch.zeros(3, 2)) == (3, 0.0, 0.0)


def test_new_statistics_help() -> None:
    def found(outliers: int, vanished: int, longest: float) -> Findings:
        return Findings({"a": vanished} if vanished else {}, 9, outliers, 99, 1.0, longest)

    def one_point(similarity: float) -> Findings:
        return Findings({}, 9, 0, 99, 1.0, 1.0, similarity)

    before = found(3, 2, 80.0)
    assert helps(one_point(0.96), one_point(0.94))
    assert helps(one_point(0.96), found(3, 2, 80.0))
    assert not helps(one_point(0.96), one_point(0.95))
    assert not helps(before, one_point(0.95))
    assert helps(before, found(2, 5, 90.0))
    assert helps(before, found(3, 1, 90.0))
    assert helps(before, found(3, 2, 39.0))
    for other in (before, found(3, 2, 41.0), found(4, 0, 6.0), found(3, 3, 30.0)):
        assert not helps(before, other)


def test_findings_in_words() -> None:
    assert Findings({"a": 2, "b": 1}, 64, 0, 10, 0.9, 1.2).describe() == (
        "3 of 64 batch-norm channels explode for rare images, since their variance vanishes (first in a)"
    )
    assert Findings({}, 64, 2, 10, 0.012, 1.2).describe() == (
        "2 of 10 embeddings are far from the median length (0.012 to 1.2 times it)"
    )


def test_a_compiled_network_is_watched_too_and_not_compiled_anew() -> None:
    compilations: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        compilations.append(len(inputs))
        return graph.forward

    net = trained()
    net.compile(backend=backend)
    net(next(batches(rare=False)))
    before = len(compilations)
    assert before > 0
    assert examine(net, batches()).vanished == {"norm": 1}
    found = repair(net, batches)
    assert found is not None
    assert found[1].sound
    assert len(compilations) == before
