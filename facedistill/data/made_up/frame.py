"""The surface that a face is painted on, and its brushes, which take head points in face units."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.data.made_up.geometry import View, spline
from facedistill.data.made_up.values import ByteArray, Colour, FloatArray, Matrix, limit

OVERSAMPLING = 1.3
"""Frames are drawn this much larger than the picture and then warped down, which also smooths the polygons' edges."""

_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV
_LARGEST_PRODUCT = 500_000  # multiplications in one matrix product, about half of where OpenBLAS turns to threads


@dataclass
class Frame:
    """What is painted on: h x w pixels at `scale` pixels a face unit, the first pixel's centre at `origin`."""

    view: View
    origin: Matrix  # (2,)
    scale: float
    albedo: ByteArray  # (h, w, 3)
    person: ByteArray  # (h, w), 255 where the head's light falls and not the background's
    crease: ByteArray  # (h, w), darkness of wrinkles and folds
    glints: list[tuple[Matrix, float]] = field(default_factory=list)  # head point and radius

    def __post_init__(self) -> None:
        self._camera = self.view.magnified(self.origin, self.scale)

    @classmethod
    def covering(cls, view: View, to_image: Matrix, size: int) -> Frame:
        """The frame whose warp fills a picture of size x size pixels."""
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]])
        plane = (corners - to_image[:, 2]) @ np.linalg.inv(to_image[:, :2]).T
        scale = float(np.hypot(to_image[0, 0], to_image[1, 0])) * OVERSAMPLING
        origin = plane.min(axis=0) - 1 / scale
        width, height = (int(side) for side in np.ceil((plane.max(axis=0) - origin) * scale) + 1)
        blank = np.zeros((5, height, width), np.uint8)
        return cls(view, origin, scale, blank[:3].reshape(height, width, 3), blank[3], blank[4])

    def pixels(self, points: Matrix) -> Matrix:
        """(N, 3) head points -> (N, 2) frame pixels."""
        return self._camera.project(points)

    def curve(self, points: Matrix, closed: bool = True) -> npt.NDArray[np.int32]:
        """A smooth curve through head points, as fixed-point pixels for OpenCV."""
        return np.rint(spline(len(points), closed) @ (self.pixels(points) * (1 << _SHIFT))).astype(np.int32)

    def stroke(self, width: float) -> int:
        """A width in face units as whole pixels."""
        return max(1, round(width * self.scale))

    def fill(self, points: Matrix, colour: Colour) -> None:
        """Paint the inside of a closed curve through head points."""
        cv2.fillPoly(self.albedo, [self.curve(points)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, points: Matrix, colour: Colour, width: float, closed: bool = False) -> None:
        """Draw along a curve through head points; width is in face units."""
        curve = self.curve(points, closed)
        cv2.polylines(self.albedo, [curve], closed, colour, self.stroke(width), cv2.LINE_AA, _SHIFT)

    def wrinkle(self, points: Matrix, darkness: float, width: float = 0.07) -> None:
        """Crease the skin along an open curve: darkness is 0 to 1, width in face units."""
        level = 255 * limit(darkness, 0, 1)
        curve = self.curve(points, closed=False)
        cv2.polylines(self.crease, [curve], False, (level,), self.stroke(width), cv2.LINE_AA, _SHIFT)

    def disc(self, point: Matrix, radius: float, colour: Colour) -> None:
        """Paint a circle around a head point, (1, 3); radius is in face units."""
        x, y = (round(float(value) * (1 << _SHIFT)) for value in self.pixels(point)[0])
        fixed = round(radius * self.scale * (1 << _SHIFT))
        cv2.circle(self.albedo, (x, y), fixed, colour, -1, cv2.LINE_AA, _SHIFT)

    def mask(self, *outlines: Matrix) -> ByteArray:
        """(h, w), 255 inside any of the outlines."""
        mask = np.zeros(self.person.shape, np.uint8)
        for outline in outlines:
            cv2.fillPoly(mask, [self.curve(outline)], (255,), cv2.LINE_AA, _SHIFT)
        return mask

    def cover(self, layer: ByteArray, mask: ByteArray, opacity: float = 1.0) -> None:
        """Lay `layer` (h, w, 3) over the albedo where mask is set."""
        weight = mask.astype(np.float32) * np.float32(opacity / 255)
        self.albedo[:] = cv2.blendLinear(layer, self.albedo, weight, 1 - weight)

    def hide(self, outline: Matrix, colour: Colour) -> None:
        """Put an opaque thing before the person: its colour, no wrinkles of the skin below, the head's light."""
        curve = self.curve(outline)
        for plane, level in ((self.albedo, colour), (self.crease, (0,)), (self.person, (255,))):
            cv2.fillPoly(plane, [curve], level, cv2.LINE_AA, _SHIFT)
        self.glints = [(point, radius) for point, radius in self.glints if not self._encloses(curve, point)]

    def _encloses(self, curve: npt.NDArray[np.int32], point: Matrix) -> bool:
        x, y = (float(value) * (1 << _SHIFT) for value in self.pixels(point)[0])
        return cv2.pointPolygonTest(curve, (x, y), False) >= 0

    def window(self, points: Matrix, margin: float) -> Frame:
        """The part of the frame around head points, sharing its pixels: painting there costs less."""
        pixels = self.pixels(points)
        height, width = self.person.shape
        left, top = np.clip(pixels.min(axis=0) - margin * self.scale, 0, (width - 1, height - 1)).astype(int)
        right, bottom = np.clip(pixels.max(axis=0) + margin * self.scale, 1, (width, height)).astype(int) + 1
        part = np.s_[top:bottom, left:right]
        origin = self.origin + np.array([left, top]) / self.scale
        return Frame(
            self.view, origin, self.scale, self.albedo[part], self.person[part], self.crease[part], self.glints
        )

    def stretch(self, texture: FloatArray, half_width: float) -> FloatArray:
        """A square texture laid over x, y in -half_width..half_width of the face plane -> (h, w)."""
        per_unit = texture.shape[0] / (2 * half_width)
        back = np.column_stack([np.eye(2) / self.scale, self.origin + half_width]) * per_unit
        height, width = self.person.shape
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        laid = cv2.warpAffine(texture, back, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(laid, np.float32)

    def bumps(self, rows: Matrix) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Gaussians along the columns and along the rows, then the slopes of both; each (bumps, w or h).

        rows (bumps, >= 5) hold x, y, z, sigma x, sigma y in face units. The Gaussians are separable, so a weighted sum
        over all of them is one matrix product.
        """
        centres = self.view.project(rows[:, :3])
        height, width = self.person.shape
        x = (self.origin[0] + np.arange(width) / self.scale - centres[:, :1]) / rows[:, 3:4]
        y = (self.origin[1] + np.arange(height) / self.scale - centres[:, 1:]) / rows[:, 4:5]
        across, down = np.exp(-0.5 * x * x).astype(np.float32), np.exp(-0.5 * y * y).astype(np.float32)
        slope_across, slope_down = -x / rows[:, 3:4] * across, -y / rows[:, 4:5] * down
        return across, down, slope_across.astype(np.float32), slope_down.astype(np.float32)


def sum_of_products(down: FloatArray, across: FloatArray) -> FloatArray:
    """down.T @ across, (bumps, h) and (bumps, w) -> (h, w), in pieces too small for BLAS to share among threads.

    Its threads wait for one another by spinning: with a busy core or several workers that costs fifty times the sum.
    """
    total = np.empty((down.shape[1], across.shape[1]), np.float32)
    step = max(1, _LARGEST_PRODUCT // across.size)
    for row in range(0, len(total), step):
        np.matmul(down[:, row : row + step].T, across, out=total[row : row + step])
    return total
