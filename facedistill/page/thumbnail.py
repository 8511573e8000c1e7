"""Small pictures that lie in the page itself."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.data.images import encode_image

_QUALITY = 80


def thumbnail(image: npt.NDArray[np.uint8], side: int) -> str:
    """(H, W, 3) uint8 RGB as an `img` element, shrunk where its longer side is above `side` pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    encoded = base64.b64encode(encode_image(image, ".jpg", _QUALITY)).decode("ascii")
    height, width = image.shape[:2]
    return f'<img src="data:image/jpeg;base64,{encoded}" width="{width}" height="{height}" alt="">'
