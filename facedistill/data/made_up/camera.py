"""What a camera does to a picture."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.values import ByteArray, FloatArray

_UNIT_IN_CROP = 17.6  # pixels that a face unit takes in a 112 pixel crop, in which blur is given


def degrade(image: ByteArray, nuisance: Nuisance, unit: float) -> ByteArray:
    """The camera: gain, contrast and white balance, lost resolution, blur, sensor noise, JPEG.

    A face unit takes `unit` pixels of the image.
    """
    size = image.shape[0]
    levels = np.arange(256, dtype=np.float32)[:, None]
    gains = nuisance.exposure * np.array([1 + nuisance.warmth, 1 + nuisance.tint, 1 - nuisance.warmth], np.float32)
    curve = np.clip((levels * gains - 118) * nuisance.contrast + 118, 0, 255)
    image = np.asarray(cv2.LUT(image, np.rint(curve).astype(np.uint8)[None]), np.uint8)
    if nuisance.resolution < 1:
        small = max(8, round(size * nuisance.resolution))
        reduced = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(reduced, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    sigma = nuisance.blur * unit / _UNIT_IN_CROP
    if sigma > 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if nuisance.noise > 0:
        bank = _noise_bank(max(1 << 20, 2 * image.size))
        start = nuisance.seed % (len(bank) - image.size)
        grain = bank[start : start + image.size].reshape(image.shape) * np.float32(nuisance.noise)
        image = np.asarray(cv2.add(image, grain, dtype=cv2.CV_8U), np.uint8)
    if nuisance.jpeg_quality < 100:
        blue_first = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        _, packed = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, nuisance.jpeg_quality])
        blue_first = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        image = np.asarray(cv2.cvtColor(blue_first, cv2.COLOR_BGR2RGB), np.uint8)
    return image


@lru_cache(maxsize=2)
def _noise_bank(length: int) -> FloatArray:
    """Normal noise to cut pieces from: drawing fresh noise would take a tenth of a face's time."""
    return np.random.default_rng(8).standard_normal(length, np.float32)
