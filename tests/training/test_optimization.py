from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from facedistill.heads import HEADS, MarginHead, PartialFC, make_head
from facedistill.models import BACKBONES, build_backbone
from facedistill.training.optimization import clip_gradients, make_optimizer
from facedistill.training.options import TrainingOptions

MULTIPLY = (nn.Conv1d, nn.Conv2d, nn.Linear)
DO_NOT = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.PReLU)


def decayed_by_layer(module: nn.Module) -> dict[str, bool]:
    """What should be decayed, by the type of the layer that each parameter belongs to and not by names or dimensions.

    Raises:
        AssertionError: a layer with parameters that this walk does not know.
    """
    verdicts: dict[str, bool] = {}
    for prefix, layer in module.named_modules():
        for name, parameter in layer.named_parameters(recurse=False):
            full = f"{prefix}.{name}".lstrip(".")
            if not parameter.requires_grad:
                continue  # such as the scale of IResNet's last norm, which stays 1
            if isinstance(layer, MULTIPLY):
                verdicts[full] = name == "weight"
            elif isinstance(layer, DO_NOT):
                verdicts[full] = False
            elif isinstance(layer, (MarginHead, PartialFC)) or type(layer).__name__ == "SampledCentres":
                verdicts[full] = True
            else:
                # Position embeddings, tokens, tables of biases, layer scales: they stand in the network itself.
                assert name.startswith("gamma") or name in {
                    "positions",
                    "cls_token",
                    "dist_token",
                    "pos_embed",
                    "relative_position_bias_table",
                    "attention_biases",
                    "temperature",
                }, full
                verdicts[full] = False
    return verdicts


def check_groups(module: nn.Module) -> None:
    options = TrainingOptions(weight_decay=5e-4)
    decayed, others = make_optimizer([module], options).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (5e-4, 0)
    name_of = {id(parameter): name for name, parameter in module.named_parameters() if parameter.requires_grad}
    found = {name_of[id(parameter)]: True for parameter in decayed["params"]}
    found |= {name_of[id(parameter)]: False for parameter in others["params"]}
    assert found == decayed_by_layer(module)
    assert len(decayed["params"]) + len(others["params"]) == len(name_of)


@pytest.mark.parametrize("name", [entry.name for entry in BACKBONES])
def test_what_is_decayed_in_backbones(name: str) -> None:
    with torch.device("meta"):
        check_groups(build_backbone(name, embedding_size=8, width=0.25, input_size=32))


@pytest.mark.parametrize("rate", [None, 1.0, 0.5])
@pytest.mark.parametrize("name", [entry.name for entry in HEADS])
def test_what_is_decayed_in_heads(name: str, rate: float | None) -> None:
    check_groups(make_head(name, 8, 10, sample_rate=rate))


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenetv3_small_050",
        "deit_tiny_distilled_patch16_224",
        "swin_tiny_patch4_window7_224",
        "levit_128s",
        "xcit_nano_12_p16_224",
        "convnext_atto",
        "edgenext_xx_small",
    ],
)
def test_what_is_decayed_in_models_of_timm(name: str, timm: ModuleType) -> None:
    with torch.device("meta"):
        check_groups(timm.create_model(name, pretrained=False, num_classes=8))


def test_frozen_parameters_are_left_out() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    net[0].weight.requires_grad_(False)
    decayed, others = make_optimizer([net], TrainingOptions()).param_groups
    assert decayed["params"] == []
    assert len(others["params"]) == 3


def quadratic(nesterov: bool) -> list[list[float]]:
    """Momentum SGD with decay on f(w, b) = (w - 3)^2 + (b + 1)^2 by hand: the values after each of five steps."""
    values, speeds, trace = [1.0, 2.0], [0.0, 0.0], []
    for _ in range(5):
        slopes = [2 * (values[0] - 3) + 0.1 * values[0], 2 * (values[1] + 1)]  # only w is decayed
        for place, slope in enumerate(slopes):
            speeds[place] = 0.9 * speeds[place] + slope
            values[place] -= 0.05 * (slope + 0.9 * speeds[place] if nesterov else speeds[place])
        trace.append(list(values))
    return trace


class _Quadratic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0]], dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))

    def trace(self, optimizer: torch.optim.Optimizer) -> list[list[float]]:
        values = []
        for _ in range(5):
            optimizer.zero_grad()
            ((self.weight - 3).square().sum() + (self.bias + 1).square().sum()).backward()
            optimizer.step()
            values.append([float(self.weight.detach()), float(self.bias.detach())])
        return values


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_by_hand(nesterov: bool) -> None:
    net = _Quadratic()
    optimizer = make_optimizer([net], TrainingOptions(lr=0.05, weight_decay=0.1, nesterov=nesterov))
    assert net.trace(optimizer) == [pytest.approx(values) for values in quadratic(nesterov)]


def test_adamw_by_hand() -> None:
    net = _Quadratic()
    optimizer = make_optimizer([net], TrainingOptions(lr=0.05, weight_decay=0.1, optimizer="adamw"))
    values, first, second = [1.0, 2.0], [0.0, 0.0], [0.0, 0.0]
    for step, seen in enumerate(net.trace(optimizer), start=1):
        slopes = [2 * (values[0] - 3), 2 * (values[1] + 1)]
        values[0] *= 1 - 0.05 * 0.1  # decoupled, and only of w
        for place, slope in enumerate(slopes):
            first[place] = 0.9 * first[place] + 0.1 * slope
            second[place] = 0.999 * second[place] + 0.001 * slope**2
            spread = (second[place] / (1 - 0.999**step)) ** 0.5 + 1e-8
            values[place] -= 0.05 * first[place] / (1 - 0.9**step) / spread
        assert seen == pytest.approx(values)


def gradients(scale: float) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2, 2, 2))]
    for parameter in parameters[:2]:  # the last took no part in the step
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return parameters


def clip(parameters: Iterable[nn.Parameter], sharded: list[nn.Parameter], max_norm: float) -> float:
    return float(clip_gradients(torch.optim.SGD(parameters, lr=1.0), sharded, max_norm=max_norm))


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
@pytest.mark.parametrize("sharded", [[], [0], [0, 1, 2]])
def test_clipping_as_torch_does(scale: float, sharded: list[int]) -> None:
    ours, theirs = gradients(scale), gradients(scale)
    length = clip(ours, [ours[place] for place in sharded], 2.0)
    assert length == pytest.approx(float(nn.utils.clip_grad_norm_(theirs, 2.0)), rel=1e-6)
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-6, atol=0)
    assert ours[2].grad is None
    total = sum(float(parameter.grad.square().sum()) for parameter in ours[:2] if parameter.grad is not None)
    assert total**0.5 == pytest.approx(min(2.0, length), rel=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_has_no_finite_length(value: float) -> None:
    parameters = gradients(1.0)
    assert parameters[1].grad is not None
    parameters[1].grad[2] = value
    assert not torch.isfinite(torch.tensor(clip(parameters, [], 2.0)))


def test_nothing_to_clip() -> None:
    assert clip([nn.Parameter(torch.zeros(2))], [], 1.0) == 0.0
