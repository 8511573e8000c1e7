"""Every backbone can learn: twenty made-up people by heart, in a bare loop that shares nothing with the engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from facedistill.data.synthetic import SyntheticFaces
from facedistill.models import BACKBONES, build_backbone

IDENTITIES, IMAGES, SIZE = 20, 4, 32
EMBEDDING_SIZE = 32
SCALE, MARGIN = 16.0, 0.1
STEPS = 150
STEPS_BETWEEN_LOOKS = 5
WARMUP_STEPS = 10
RATE = 3e-3


@pytest.fixture(scope="module")
def crops() -> tuple[torch.Tensor, torch.Tensor]:
    """(80, 3, 32, 32) float of -1 to 1, and (80,) int64 labels."""
    faces = SyntheticFaces(IDENTITIES, IMAGES, size=SIZE)
    pixels = np.stack([faces.image(index) for index in range(len(faces))])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.from_numpy(faces.labels)


def learn(name: str, crops: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Share of the images that the net, trained and in eval mode, gives to the right person; stops at all of them."""
    torch.manual_seed(0)
    images, labels = crops
    net = build_backbone(name, embedding_size=EMBEDDING_SIZE, width=0.125, input_size=SIZE)
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            # The statistics of so short a run are to be those of its end.
            layer.momentum = 0.5
    centres = torch.randn(IDENTITIES, EMBEDDING_SIZE, requires_grad=True)
    optimizer = torch.optim.AdamW([*net.parameters(), centres], lr=RATE, weight_decay=0.0)
    right = 0.0
    for step in range(1, STEPS + 1):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, step / WARMUP_STEPS)
        cosines = functional.normalize(net.train()(images)) @ functional.normalize(centres).T
        logits = SCALE * (cosines - MARGIN * functional.one_hot(labels, IDENTITIES))
        loss = functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % STEPS_BETWEEN_LOOKS == 0:
            with torch.no_grad():
                cosines = functional.normalize(net.eval()(images)) @ functional.normalize(centres).T
            right = float((cosines.argmax(1) == labels).double().mean())
            if right == 1.0:
                break
    return right


@pytest.mark.parametrize("name", [entry.name for entry in BACKBONES])
def test_it_learns_twenty_people_by_heart(name: str, crops: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert learn(name, crops) > 0.99
