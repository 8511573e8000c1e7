"""Changes to a batch of crops, on its device, that make a model hold out against poor photos.

Mirroring is not here: the teacher's embeddings of mirrored crops are cached as well, so that it decides them itself.
"""

from __future__ import annotations

from collections.abc import Callable

import kornia.augmentation as kornia
import torch
from torch.nn import functional

from facedistill.data.batches.augmentation_options import AugmentationOptions

Transform = Callable[[torch.Tensor], torch.Tensor]

# Ranges of ours unless another source is named.
CROP_AREA = (0.7, 1.0)
"""Share of the area that a random resized crop keeps; AdaFace's 0.2 and more would undo the alignment."""
CROP_RATIO = (0.9, 1.1)
OCCLUDED_AREA = (0.02, 0.2)
PHOTOMETRIC = 0.5
"""Largest relative change of brightness, contrast and saturation, as in AdaFace's training code."""
LOW_RESOLUTION = (0.2, 0.8)
"""Share of the side that a low-resolution image keeps; AdaFace draws from 0.2 to 1."""
LOW_RESOLUTION_STEPS = 7
JPEG_QUALITY = (20.0, 90.0)


class Augmentation:
    """Changes random images of a batch, in the order in which the world and a camera would.

    All that is random comes from torch's global generator on the CPU, whatever the device: the same seed gives the
    same choices.

    Args:
        options: how often each change is made.
        size: the side of the crops in pixels.
    """

    def __init__(self, options: AugmentationOptions, size: int) -> None:
        self._changes: list[tuple[float, Transform]] = [
            (
                options.crop,
                kornia.RandomResizedCrop(
                    (size, size), scale=CROP_AREA, ratio=CROP_RATIO, p=1.0, cropping_mode="resample"
                ),
            ),
            (options.occlusion, kornia.RandomErasing(scale=OCCLUDED_AREA, p=1.0)),
            (options.photometric, kornia.ColorJitter(PHOTOMETRIC, PHOTOMETRIC, PHOTOMETRIC, 0.0, p=1.0)),
            (options.low_resolution, lower_resolution),
            (options.jpeg, kornia.RandomJPEG(JPEG_QUALITY, p=1.0)),
        ]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) uint8 RGB -> the same shape and type; images that are not chosen are left as they are."""
        images = images.clone()
        for probability, change in self._changes:
            if probability == 0:
                continue
            # Only the chosen ones are computed; their number is known on the CPU, so that no step waits for the device.
            rows = torch.nonzero(torch.rand(len(images)) < probability).flatten()
            if len(rows):
                chosen = rows.to(images.device, non_blocking=True)
                changed = change(images[chosen].permute(0, 3, 1, 2).float() / 255)
                images[chosen] = (changed * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        return images


def lower_resolution(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S) float: each made smaller by area averaging, and enlarged again bilinearly."""
    side = images.shape[-1]
    least, most = LOW_RESOLUTION
    steps = torch.randint(LOW_RESOLUTION_STEPS, (len(images),))
    result = torch.empty_like(images)
    for step in sorted(set(steps.tolist())):
        share = least + (most - least) * step / (LOW_RESOLUTION_STEPS - 1)
        rows = torch.nonzero(steps == step).flatten().to(images.device)
        small = functional.interpolate(images[rows], size=max(1, round(side * share)), mode="area")
        result[rows] = functional.interpolate(small, size=side, mode="bilinear", align_corners=False)
    return result
