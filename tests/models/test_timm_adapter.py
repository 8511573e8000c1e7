from __future__ import annotations

import builtins
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from facedistill.checkpoint import BackboneSpec, Checkpoint, load_checkpoint, save_checkpoint
from facedistill.errors import UsageError
from facedistill.models import BACKBONES, build_backbone, default_embedding_size
from facedistill.models.complexity import measure_complexity
from facedistill.preprocessing import Preprocessing


@pytest.mark.parametrize("name", ["mobilenetv4_conv_small", "vit_tiny_patch16_224", "resnet18.a1_in1k"])
@pytest.mark.parametrize("input_size", [112, 64])
def test_it_embeds_and_passes_gradients(timm: ModuleType, name: str, input_size: int) -> None:
    backbone = build_backbone(f"timm:{name}", embedding_size=24, input_size=input_size)
    assert all(module.training for module in backbone.modules())
    output = backbone(torch.randn(2, 3, input_size, input_size))
    assert output.shape == (2, 24)
    output.square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_nothing_is_downloaded(timm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: (asked.append(options), create(name, **options))[1]
    )
    build_backbone("timm:resnet18", embedding_size=8, input_size=64)
    assert asked[0]["pretrained"] is False
    for member in ("hf-hub:timm/resnet18.a1_in1k", "hf_hub:timm/resnet18", "local-dir:somewhere"):
        with pytest.raises(UsageError, match="there is no backbone called 'timm:"):
            build_backbone(f"timm:{member}", embedding_size=8)
    assert len(asked) == 1


def test_the_same_seed_draws_the_same_weights(timm: ModuleType) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_backbone("timm:mobilenetv4_conv_small", embedding_size=8, input_size=64).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_checkpoint_gives_it_back(timm: ModuleType, tmp_path: Path) -> None:
    name = "timm:mobilenetv4_conv_small"
    backbone = build_backbone(name, embedding_size=8, input_size=64)
    images = torch.randn(2, 3, 64, 64)
    backbone.train()(images)
    saved = Checkpoint(backbone.eval(), BackboneSpec(name, 8), Preprocessing(size=64))
    save_checkpoint(tmp_path / "net.safetensors", saved)
    with torch.no_grad():
        assert torch.equal(load_checkpoint(tmp_path / "net.safetensors").backbone(images), backbone(images))


def test_it_is_measured(timm: ModuleType) -> None:
    with torch.device("meta"):
        backbone = build_backbone("timm:resnet18", embedding_size=512, input_size=224)
    complexity = measure_complexity(backbone, input_size=224)
    # ResNet-18 at 224: 11.18 M parameters without its classifier and 1.814 G multiply-adds without the classifier's.
    assert complexity.parameters == 11_176_512 + 512 * 512 + 512 + 2 * 512
    assert complexity.multiply_adds == 1_814_073_344 - 512 * 1000 + 512 * 512


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rsenet18", {}, "there is no backbone called 'timm:rsenet18'. Did you mean 'timm:resnet18'?"),
        ("rsenet18.a1_in1k", {}, "Did you mean 'timm:resnet18'?"),
        ("", {}, r"timm.list_models\(\) names them all"),
        ("resnet18", {"width": 0.5}, "the width multiplier is 0.5, but timm's models have one width each"),
        ("inception_v4", {"input_size": 64}, "timm's 'inception_v4' cannot embed images of 64 x 64 pixels"),
    ],
)
def test_wrong_calls(timm: ModuleType, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_backbone(f"timm:{name}", embedding_size=8, **options)


def without_timm(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    importing = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "timm":
            raise error
        return importing(name, *rest)

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)


def test_without_timm_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without_timm(monkeypatch, ModuleNotFoundError("No module named 'timm'"))
    with pytest.raises(UsageError, match=r"need the package timm .*pip install 'facedistill\[timm\]'"):
        build_backbone("timm:resnet18", embedding_size=8)


def test_a_torchvision_of_another_build_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without_timm(monkeypatch, RuntimeError("operator torchvision::nms does not exist"))
    with pytest.raises(UsageError, match=r"cannot be imported .*torchvision that belongs to this build of torch"):
        build_backbone("timm:resnet18", embedding_size=8)


def test_the_registry_knows_the_family_by_its_prefix() -> None:
    assert default_embedding_size("timm:anything") == 512
    assert "timm:anything" in BACKBONES
    assert "timm" not in BACKBONES
    assert "tinyfacenet" in BACKBONES
    assert "tim:resnet18" not in BACKBONES
    assert 7 not in BACKBONES
    with pytest.raises(UsageError, match="there is no backbone called 'tim:resnet18'"):
        build_backbone("tim:resnet18", embedding_size=8)
