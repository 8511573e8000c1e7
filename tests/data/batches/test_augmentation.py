from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from facedistill.data.batches.augmentation import Augmentation, lower_resolution
from facedistill.data.batches.augmentation_options import AugmentationOptions
from facedistill.data.synthetic import SyntheticFaces
from facedistill.errors import UsageError

SIZE = 48
NAMES = [field.name for field in fields(AugmentationOptions)]


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    faces = SyntheticFaces(4, 4, size=SIZE)
    return torch.from_numpy(np.stack([faces.image(index) for index in range(16)]))


def changed(name: str, crops: torch.Tensor, probability: float = 1.0, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return Augmentation(AugmentationOptions(**{name: probability}), SIZE)(crops)


@pytest.mark.parametrize("name", NAMES)
def test_each_change_is_seeded_and_keeps_the_batch(name: str, crops: torch.Tensor) -> None:
    before = crops.clone()
    result = changed(name, crops)
    assert torch.equal(crops, before)
    assert result.shape == crops.shape
    assert result.dtype == torch.uint8
    assert torch.equal(result, changed(name, crops))
    assert not torch.equal(result, changed(name, crops, seed=1))
    # Still the same face: nearer to its own crop than to anybody else's, for nearly all.
    flat, original = result.flatten(1).float(), crops.flatten(1).float()
    flat, original = (part - part.mean(dim=1, keepdim=True) for part in (flat, original))
    nearest = (torch.nn.functional.normalize(flat) @ torch.nn.functional.normalize(original).T).argmax(dim=1)
    assert (nearest == torch.arange(16)).sum() >= 12


@pytest.mark.parametrize("name", NAMES)
def test_the_probability_counts_images(name: str, crops: torch.Tensor) -> None:
    many = crops.repeat(20, 1, 1, 1)
    differs = (changed(name, many, 0.25) != many).flatten(1).any(dim=1)
    assert 50 < int(differs.sum()) < 110


def test_no_probability_changes_nothing(crops: torch.Tensor) -> None:
    assert torch.equal(Augmentation(AugmentationOptions(), SIZE)(crops), crops)


def test_an_occlusion_is_one_black_rectangle(crops: torch.Tensor) -> None:
    bright = torch.full_like(crops, 200)
    for image in changed("occlusion", bright):
        black = (image == 0).all(dim=2)
        rows, columns = torch.nonzero(black.any(dim=1)).flatten(), torch.nonzero(black.any(dim=0)).flatten()
        assert int(black.sum()) == len(rows) * len(columns)
        assert 0.01 < int(black.sum()) / SIZE**2 < 0.25


def test_low_resolution_takes_fine_detail_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    noise = torch.rand(32, 3, 40, 40)
    result = lower_resolution(noise)
    assert torch.allclose(result.mean(dim=(1, 2, 3)), noise.mean(dim=(1, 2, 3)), atol=0.01)
    assert (result.std(dim=(1, 2, 3)) < 0.75 * noise.std(dim=(1, 2, 3))).all()
    flat = torch.full((2, 3, 16, 16), 0.25)
    assert torch.allclose(lower_resolution(flat), flat)


def test_jpeg_makes_blocks(crops: torch.Tensor) -> None:
    # The 8 x 8 cosine transform of the luma has many coefficients that the quantisation took.
    result = changed("jpeg", crops)
    error = (result.float() - crops.float()).abs().mean()
    assert 0.3 < float(error) < 12


def test_probabilities_out_of_range() -> None:
    with pytest.raises(UsageError, match=r"probability 1\.5"):
        AugmentationOptions(jpeg=1.5)


@pytest.mark.cuda
def test_the_device_does_not_change_the_choice(crops: torch.Tensor) -> None:
    for name in NAMES:
        torch.manual_seed(0)
        result = Augmentation(AugmentationOptions(**{name: 1.0}), SIZE)(crops.cuda()).cpu()
        assert (result.float() - changed(name, crops).float()).abs().mean() < 1.0
