"""How often each augmentation is made."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from facedistill.errors import UsageError


@dataclass(frozen=True)
class AugmentationOptions:
    """The probability, 0 to 1, that an image is changed so; AdaFace has 0.2 for crop, photometric and low resolution.

    Args:
        crop: a random part, enlarged to the whole.
        occlusion: a random rectangle painted black.
        photometric: brightness, contrast and saturation.
        low_resolution: made smaller and enlarged again.
        jpeg: compressed as a JPEG of low quality.

    Raises:
        UsageError: a probability is out of its range.
    """

    crop: float = 0.0
    occlusion: float = 0.0
    photometric: float = 0.0
    low_resolution: float = 0.0
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        for probability in astuple(self):
            if not 0 <= probability <= 1:
                raise UsageError(f"an augmentation has the probability {probability}", next_step="Use 0 to 1")
