"""A 128-bit hash that copies of one picture share nearly, and the stricter measure that tells copies from look-alikes.

Aligned faces all look alike: a hash of signs around zero (the usual perceptual hash) is nearly the same for all of
them. Here each bit says on which side of the folder's own median a frequency of the picture lies, so that the bits tell
the faces of this folder apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

HASH_BYTES = 16
VIEWS = ((0, 0), (2, 0), (0, 2), (2, 2), (2, -2))
"""Shifts (x, y) at which a picture is hashed, in hundredths of its side: each finds copies shifted either way."""

_FRAME = 100  # pixels of the side to which a picture is brought first
_MARGIN = 2  # what the shifts may take of it
_BLOCK = 3
_SIDE = (_FRAME - 2 * _MARGIN) // _BLOCK  # 32
# A picture of less contrast (standard deviation in grey levels) is a blank: its hash would be noise.
_LEAST_CONTRAST = 2.0

_COMPARED_SIDE = 64
_BLUR = 2.0
_ROOM = 6  # pixels at each edge that are left out of the comparison, so that the rest can be moved about
_SHIFT = 4  # pixels that it is moved; of a 112 crop these are 7
_SCALES = (0.95, 1.0, 1.05)


def _frequencies(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the `count` lowest frequencies but the mean, in an order that is random and always the same.

    Shuffled because a band of the hash is a run of its bytes: each is to hold low and high frequencies.
    """
    grid = [(row, column) for row in range(16) for column in range(16) if row + column]
    grid.sort(key=lambda cell: (cell[0] ** 2 + cell[1] ** 2, cell))
    chosen = np.array(grid[:count])[np.random.default_rng(0).permutation(count)]
    return chosen[:, 0], chosen[:, 1]


_ROWS, _COLUMNS = _frequencies(8 * HASH_BYTES)
_TAPER = np.sqrt(np.hanning(_SIDE + 2)[1:-1]).astype(np.float32)
_WEIGHTS = np.outer(_TAPER, _TAPER)  # what a shift brings in at the edges counts less


def grey_frame(image: Image, side: int = _FRAME) -> Floats:
    """(side, side) float32 grey levels of a (H, W, 3) uint8 RGB picture of any shape."""
    shrinking = min(image.shape[:2]) > side
    interpolation = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    small = cv2.resize(image, (side, side), interpolation=interpolation)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def spectra(image: Image, views: Sequence[tuple[int, int]] = VIEWS) -> Floats | None:
    """(views, 128) float32 of length 1: low frequencies (DCT) of the picture at each shift; None for a blank one."""
    frame = grey_frame(image)
    if frame.std() < _LEAST_CONTRAST:
        return None
    found = np.empty((len(views), len(_ROWS)), dtype=np.float32)
    for row, (x, y) in zip(found, views, strict=True):
        rows = slice(_MARGIN + y, _FRAME - _MARGIN + y)
        columns = slice(_MARGIN + x, _FRAME - _MARGIN + x)
        small = frame[rows, columns].reshape(_SIDE, _BLOCK, _SIDE, _BLOCK).mean(axis=(1, 3))
        row[:] = cv2.dct((small - small.mean()) * _WEIGHTS)[_ROWS, _COLUMNS]
    lengths = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-6))
    return np.asarray(found / lengths, dtype=np.float32)


def hash_views(spectrum: Floats, medians: Floats) -> npt.NDArray[np.uint8]:
    """(views, 16) uint8: bit k says whether frequency k of (views, 128) `spectrum` is above (128,) `medians`."""
    return np.packbits(spectrum > medians, axis=1)


def fine_detail(image: Image) -> Floats:
    """(64, 64) float32: the picture without its low frequencies, which light and the shape of a face decide."""
    grey = grey_frame(image, _COMPARED_SIDE)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), _BLUR), dtype=np.float32)


def same_picture_score(first: Floats, second: Floats) -> float:
    """Highest normalised correlation, -1 to 1, of two `fine_detail` over small shifts and scales.

    Copies of one picture share the fine detail (hairs, wrinkles, lights) at some shift; two pictures of one person do
    not.
    """
    middle = (_COMPARED_SIDE - 1) / 2
    inner = first[_ROOM:-_ROOM, _ROOM:-_ROOM]
    edge = _ROOM - _SHIFT
    best = -1.0
    for scale in _SCALES:
        matrix = np.array([[scale, 0, middle * (1 - scale)], [0, scale, middle * (1 - scale)]])
        scaled = second
        if scale != 1:
            moved = cv2.warpAffine(second, matrix, second.shape, borderMode=cv2.BORDER_REPLICATE)
            scaled = np.asarray(moved, dtype=np.float32)
        scores = cv2.matchTemplate(scaled[edge:-edge, edge:-edge], inner, cv2.TM_CCOEFF_NORMED)
        best = max(best, float(np.nan_to_num(scores, nan=-1.0, posinf=-1.0, neginf=-1.0).max()))
    return min(best, 1.0)
