from __future__ import annotations

import pytest
import torch
from torch import nn

from facedistill.models import build_backbone
from facedistill.models.adaface_ir import IRUnit
from facedistill.models.complexity import count_parameters
from facedistill.models.registry import default_embedding_size


@pytest.mark.parametrize(("name", "like"), [("adaface-ir18", "iresnet18"), ("adaface-ir101", "iresnet100")])
def test_it_is_iresnet_but_for_one_shortcut_and_the_last_batch_norm(name: str, like: str) -> None:
    with torch.device("meta"):
        ours = build_backbone(name, embedding_size=512)
        iresnet = build_backbone(like, embedding_size=512)
    shortcut, last_norm = 64 * 64 + 2 * 64, 2 * 512
    assert count_parameters(ours) == count_parameters(iresnet) - shortcut - last_norm
    assert default_embedding_size(name) == 512


def test_the_first_shortcut_picks_every_second_pixel() -> None:
    unit = IRUnit(4, 4, stride=2).eval()
    nn.init.zeros_(unit.layers[5].weight)  # type: ignore[arg-type]
    features = torch.arange(4 * 6 * 6, dtype=torch.float32).reshape(1, 4, 6, 6)
    torch.testing.assert_close(unit(features), features[:, :, ::2, ::2])


def test_dropout_in_training_only() -> None:
    backbone = build_backbone("adaface-ir18", embedding_size=8, width=0.125, input_size=32)
    images = torch.randn(4, 3, 32, 32)
    dropped: list[torch.Tensor] = []
    backbone.embed.register_forward_pre_hook(lambda module, inputs: dropped.append(inputs[0]))  # type: ignore[union-attr]
    backbone.train()(images)
    backbone.eval()(images)
    share_in_training, share_in_use = ((values == 0).float().mean().item() for values in dropped)
    assert share_in_training == pytest.approx(0.4, abs=0.1)
    assert share_in_use < 0.01
