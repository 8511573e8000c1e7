"""Draws made-up faces with known landmarks, so that training and aligning can be tested without anybody's photograph.

A face is a set of 3-D points in *face units*: half the usual distance between the pupils is one unit, the eyes lie at
y = 0, y points down, x to the right of the picture and z out of it, towards the camera. A frame is drawn in four steps:

1. the points are turned by the pose and projected, so that the nose moves more than the ears (parallax);
2. flat colours (skin, hair, lips, eyes, occluders) are painted as anti-aliased polygons: the albedo;
3. a height map made of Gaussian bumps (nose, brow ridge, lips, ...) gives the shading under one distant light;
4. the frame is warped into the picture and degraded as a camera would: gain, blur, noise, JPEG.

Everything is a pure function of `FaceIdentity` and `Nuisance`. Pixels repeat exactly on one machine; another processor
or another version of OpenCV may round a grey level differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.align.similarity import estimate_similarity, transform_points
from facedistill.align.template import template

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]
Colour = tuple[float, float, float]
Outline = list[tuple[float, float]]

RENDERER_VERSION = 1
"""Part of every fingerprint: raise it whenever a change here alters pixels."""

SMALLEST_SIZE = 32
"""Below this many pixels a side, eyes and mouth are no longer drawn apart."""

# Frames are drawn this much larger than the picture and then warped down, which also smooths the polygons' edges.
_OVERSAMPLING = 1.3
# The point about which the head turns: inside the skull, below the eyes.
_NECK_JOINT = np.array([0.0, 0.9, -2.6])
# Skull and hair outlines lie this far behind the eyes, so a turn moves the face inside the outline.
_OUTLINE_DEPTH = -1.2
_LARGEST_PRODUCT = 500_000  # multiplications in one matrix product, about half of where OpenBLAS turns to threads
_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV
_UNIT_IN_CROP = 17.6  # pixels that a face unit takes in a 112 pixel crop, in which blur is given


@dataclass(frozen=True)
class FaceIdentity:
    """What makes a person: shapes in face units, colours as positions on a scale. The defaults are an average face."""

    skull_height: float = 3.3
    temple_width: float = 2.12
    cheek_width: float = 2.25
    jaw_width: float = 1.85
    jaw_height: float = 2.25
    chin_width: float = 0.72
    chin_height: float = 3.55
    cheekbones: float = 0.22
    brow_ridge: float = 0.18

    eye_distance: float = 1.0
    eye_width: float = 0.44
    eye_height: float = 0.19
    eye_tilt: float = 0.04
    eye_depth: float = 0.32
    lid_crease: float = 0.5
    iris_radius: float = 0.19
    iris_hue: float = 0.2
    iris_lightness: float = 0.4
    eye_bags: float = 0.2

    brow_height: float = 0.58
    brow_thickness: float = 0.13
    brow_arch: float = 0.12
    brow_tilt: float = 0.0
    brow_length: float = 0.72
    brow_gap: float = 0.42
    brow_darkness: float = 0.75

    nose_length: float = 1.15
    nose_width: float = 0.42
    nose_bridge: float = 0.42
    nose_projection: float = 0.75
    nose_bend: float = 0.0
    nostril_size: float = 0.1

    mouth_height: float = 2.31
    mouth_width: float = 0.83
    upper_lip: float = 0.17
    lower_lip: float = 0.24
    lip_colour: float = 0.5
    mouth_slant: float = 0.0

    ear_size: float = 0.55
    ear_stick_out: float = 0.1

    melanin: float = 0.3
    undertone: float = 0.0
    ruddiness: float = 0.3
    shine: float = 0.25
    age: float = 0.3

    hair_darkness: float = 0.7
    hair_redness: float = 0.2
    hair_grey: float = 0.0
    hair_curl: float = 0.3
    hair_length: float = 0.8
    hair_volume: float = 0.3
    hairline_height: float = 2.05
    hairline_recess: float = 0.1
    hair_parting: float = 0.0
    fringe: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0

    freckles: float = 0.0
    moles: tuple[tuple[float, float, float], ...] = ()  # x, y, radius
    skin_seed: int = 0


@dataclass(frozen=True)
class Nuisance:
    """What differs between two pictures of one person. The defaults are a frontal, calm, well-lit, clean picture."""

    yaw: float = 0.0  # degrees
    pitch: float = 0.0  # degrees
    roll: float = 0.0  # degrees in the picture plane; photos only
    camera_distance: float = 24.0  # face units

    # Error left by the aligner, in fractions of the picture's side, a factor and degrees; crops only.
    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0
    tilt: float = 0.0

    # Where the face lies in a photo and how many sides of the photo one face unit takes.
    photo_x: float = 0.5
    photo_y: float = 0.45
    photo_scale: float = 0.085

    mouth_open: float = 0.0
    smile: float = 0.0
    eye_open: float = 1.0
    brow_raise: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0

    light_azimuth: float = 15.0  # degrees, positive from the right
    light_elevation: float = 30.0  # degrees above the camera
    light_contrast: float = 0.5  # share of the light that has a direction
    exposure: float = 1.0
    contrast: float = 1.0
    warmth: float = 0.0
    tint: float = 0.0

    hair_length_change: float = 0.0
    hair_volume_change: float = 0.0
    fringe_change: float = 0.0
    parting_change: float = 0.0
    stubble: float = 0.0
    lipstick: float = 0.0
    tan: float = 0.0

    glasses: bool = False
    lens_darkness: float = 0.0
    lens_shape: float = 0.5
    cap: bool = False
    mask: bool = False
    hand: bool = False  # fingers held before the face, at the patch's place and angle
    patch_size: float = 0.0  # half side in face units of a thing held before the face; 0 for nothing
    patch_x: float = 0.0
    patch_y: float = 2.0
    patch_angle: float = 0.0
    accessory: Colour = (40.0, 44.0, 60.0)
    clothes: Colour = (70.0, 80.0, 110.0)

    blur: float = 0.0  # sigma in pixels of a 112 pixel crop; a photo's face is blurred alike
    resolution: float = 1.0  # the picture was once this much smaller
    noise: float = 0.0  # standard deviation in grey levels
    jpeg_quality: int = 100  # 100 leaves the JPEG step out
    seed: int = 0  # of the background and of the noise


@dataclass(frozen=True)
class RenderedFace:
    """A picture with its truth.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        landmarks: (5, 2) float32 pixels, x before y, in the order of `facedistill.align.template.LANDMARK_NAMES`:
            left eye, right eye, nose tip, left and right mouth corner, left and right as in the image.
    """

    image: ByteArray
    landmarks: FloatArray


def render_face(identity: FaceIdentity, nuisance: Nuisance, size: int = 112) -> RenderedFace:
    """Draw an aligned crop: the landmarks' least-squares similarity to the template, then the nuisance's jitter.

    Raises:
        ValueError: size is below `SMALLEST_SIZE`.
    """
    _check_size(size)
    plane = _View(nuisance).project(_landmark_points(identity, nuisance))
    aligned = estimate_similarity(plane, template(size))
    shift = size * np.array([nuisance.shift_x, nuisance.shift_y])
    jitter = _similarity(nuisance.zoom, nuisance.tilt, fixed=(size / 2, size / 2), to=size / 2 + shift)
    to_image = jitter[:, :2] @ aligned
    to_image[:, 2] += jitter[:, 2]
    return _render(identity, nuisance, to_image, size)


def render_photo(identity: FaceIdentity, nuisance: Nuisance, size: int = 250) -> RenderedFace:
    """Draw a picture with head, shoulders and background; place, scale and in-plane roll are the nuisance's.

    Raises:
        ValueError: size is below `SMALLEST_SIZE`.
    """
    _check_size(size)
    place = size * np.array([nuisance.photo_x, nuisance.photo_y])
    placed = _similarity(size * nuisance.photo_scale, nuisance.roll, fixed=(0.0, 0.8), to=place)
    return _render(identity, nuisance, placed, size)


def _check_size(size: int) -> None:
    if size < SMALLEST_SIZE:
        raise ValueError(f"size is {size}, but a face needs at least {SMALLEST_SIZE} pixels a side")


def _render(identity: FaceIdentity, nuisance: Nuisance, to_image: Matrix, size: int) -> RenderedFace:
    """Draw, shade, warp and degrade; to_image (2, 3) maps the face plane to the picture's pixels."""
    frame = _Frame.covering(_View(nuisance), to_image, size)
    _paint_person(frame, identity, nuisance)
    lit = _shade(frame, identity, nuisance)
    from_frame = np.column_stack([to_image[:, :2] / frame.scale, to_image[:, :2] @ frame.origin + to_image[:, 2]])
    image = cv2.warpAffine(lit, from_frame, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    landmarks = transform_points(to_image, frame.view.project(_landmark_points(identity, nuisance)))
    degraded = _degrade(np.asarray(image, np.uint8), nuisance, frame.scale / _OVERSAMPLING)
    return RenderedFace(degraded, landmarks.astype(np.float32))


# --- geometry -------------------------------------------------------------------------------------------------------


def _similarity(scale: float, degrees: float, *, fixed: tuple[float, float], to: Matrix) -> Matrix:
    """(2, 3) matrix that scales, rotates and carries the point `fixed` to the point `to`."""
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, to - linear @ fixed])


def _limit(value: float, low: float, high: float) -> float:
    # np.clip on a scalar takes twenty times as long, and a face needs a hundred of these.
    return min(max(value, low), high)


def _points(*xy: Sequence[float], z: float | None = None, lift: float = 0.0) -> Matrix:
    """(N, 3) points on the smooth front of the head, lifted off it, or all at one depth z."""
    points = np.empty((len(xy), 3))
    points[:, :2] = xy
    if z is None:
        x, y = points[:, 0], points[:, 1]
        points[:, 2] = np.maximum(-0.17 * x * x - 0.05 * (y - 0.8) ** 2, _OUTLINE_DEPTH) + lift
    else:
        points[:, 2] = z
    return points


def _mirrored(*half: tuple[float, float]) -> Outline:
    """The right half of an outline, from top to bottom, made whole."""
    return [*half, *((-x, y) for x, y in reversed(half) if x != 0)]


@lru_cache(maxsize=64)
def _spline(controls: int, closed: bool, steps: int = 5) -> Matrix:
    """Matrix (points, controls) that turns control points into a Catmull-Rom curve through them."""
    spans = controls if closed else controls - 1
    t = np.arange(steps) / steps
    taps = 0.5 * np.array([-(t**3) + 2 * t**2 - t, 3 * t**3 - 5 * t**2 + 2, -3 * t**3 + 4 * t**2 + t, t**3 - t**2])
    basis = np.zeros((spans * steps + (not closed), controls))
    for span in range(spans):
        for offset, weights in zip((-1, 0, 1, 2), taps, strict=True):
            control = (span + offset) % controls if closed else min(max(span + offset, 0), controls - 1)
            basis[span * steps : (span + 1) * steps, control] += weights
    if not closed:
        basis[-1, -1] = 1.0
    return basis


class _View:
    """Turns head points by the pose and projects them with perspective onto the face plane."""

    def __init__(self, nuisance: Nuisance) -> None:
        yaw, pitch = np.radians(nuisance.yaw), np.radians(nuisance.pitch)
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        rotation = nod @ turn
        # Homogeneous coordinates: the third one is what perspective divides by, 1 - z / distance.
        perspective = np.diag([1.0, 1.0, -1.0 / nuisance.camera_distance])
        self._linear: Matrix = (perspective @ rotation).T
        self._shift: Matrix = perspective @ (_NECK_JOINT - rotation @ _NECK_JOINT) + (0.0, 0.0, 1.0)

    def project(self, points: Matrix) -> Matrix:
        """(N, 3) head points -> (N, 2) on the face plane."""
        turned = points @ self._linear + self._shift
        return np.asarray(turned[:, :2] / turned[:, 2:])

    def magnified(self, origin: Matrix, scale: float) -> _View:
        """The same view onto a plane with another origin and scale, such as the pixels of a frame."""
        window = np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0], [-scale * origin[0], -scale * origin[1], 1.0]])
        view = copy(self)
        view._linear, view._shift = self._linear @ window, self._shift @ window
        return view


def _mouth_corners(identity: FaceIdentity, nuisance: Nuisance) -> tuple[tuple[float, float], tuple[float, float]]:
    half = identity.mouth_width * (1 + 0.17 * nuisance.smile - 0.12 * nuisance.mouth_open)
    y = identity.mouth_height - 0.14 * nuisance.smile + 0.3 * nuisance.mouth_open
    return (-half, y + identity.mouth_slant), (half, y - identity.mouth_slant)


def _landmark_points(identity: FaceIdentity, nuisance: Nuisance) -> Matrix:
    """(5, 3) head points of the landmarks; the eyes' are the centres of the openings, wherever the gaze goes."""
    eyes = _points((-identity.eye_distance, 0.0), (identity.eye_distance, 0.0))
    nose = _points((identity.nose_bend, identity.nose_length), z=identity.nose_projection)
    return np.concatenate([eyes, nose, _points(*_mouth_corners(identity, nuisance))])


# --- the frame and its brushes --------------------------------------------------------------------------------------


@dataclass
class _Frame:
    """What is painted on: h x w pixels at `scale` pixels a face unit, the first pixel's centre at `origin`."""

    view: _View
    origin: Matrix  # (2,)
    scale: float
    albedo: ByteArray  # (h, w, 3)
    person: ByteArray  # (h, w), 255 where the head's light falls and not the background's
    crease: ByteArray  # (h, w), darkness of wrinkles and folds
    glints: list[tuple[Matrix, float]] = field(default_factory=list)  # head point and radius

    def __post_init__(self) -> None:
        self._camera = self.view.magnified(self.origin, self.scale)

    @classmethod
    def covering(cls, view: _View, to_image: Matrix, size: int) -> _Frame:
        """The frame whose warp fills a picture of size x size pixels."""
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]])
        plane = (corners - to_image[:, 2]) @ np.linalg.inv(to_image[:, :2]).T
        scale = float(np.hypot(to_image[0, 0], to_image[1, 0])) * _OVERSAMPLING
        origin = plane.min(axis=0) - 1 / scale
        width, height = (int(side) for side in np.ceil((plane.max(axis=0) - origin) * scale) + 1)
        blank = np.zeros((5, height, width), np.uint8)
        return cls(view, origin, scale, blank[:3].reshape(height, width, 3), blank[3], blank[4])

    def pixels(self, points: Matrix) -> Matrix:
        """(N, 3) head points -> (N, 2) frame pixels."""
        return self._camera.project(points)

    def curve(self, points: Matrix, closed: bool = True) -> npt.NDArray[np.int32]:
        """A smooth curve through head points, as fixed-point pixels for OpenCV."""
        return np.rint(_spline(len(points), closed) @ (self.pixels(points) * (1 << _SHIFT))).astype(np.int32)

    def stroke(self, width: float) -> int:
        """A width in face units as whole pixels."""
        return max(1, round(width * self.scale))

    def fill(self, points: Matrix, colour: Colour) -> None:
        cv2.fillPoly(self.albedo, [self.curve(points)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, points: Matrix, colour: Colour, width: float, closed: bool = False) -> None:
        curve = self.curve(points, closed)
        cv2.polylines(self.albedo, [curve], closed, colour, self.stroke(width), cv2.LINE_AA, _SHIFT)

    def wrinkle(self, points: Matrix, darkness: float, width: float = 0.07) -> None:
        level = 255 * _limit(darkness, 0, 1)
        curve = self.curve(points, closed=False)
        cv2.polylines(self.crease, [curve], False, (level,), self.stroke(width), cv2.LINE_AA, _SHIFT)

    def disc(self, point: Matrix, radius: float, colour: Colour) -> None:
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

    def window(self, points: Matrix, margin: float) -> _Frame:
        """The part of the frame around head points, sharing its pixels: painting there costs less."""
        pixels = self.pixels(points)
        height, width = self.person.shape
        left, top = np.clip(pixels.min(axis=0) - margin * self.scale, 0, (width - 1, height - 1)).astype(int)
        right, bottom = np.clip(pixels.max(axis=0) + margin * self.scale, 1, (width, height)).astype(int) + 1
        part = np.s_[top:bottom, left:right]
        origin = self.origin + np.array([left, top]) / self.scale
        return _Frame(
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


def _products(down: FloatArray, across: FloatArray) -> FloatArray:
    """down.T @ across, (bumps, h) and (bumps, w) -> (h, w), in pieces too small for BLAS to share among threads.

    Its threads wait for one another by spinning: with a busy core or several workers that costs fifty times the sum.
    """
    total = np.empty((down.shape[1], across.shape[1]), np.float32)
    step = max(1, _LARGEST_PRODUCT // across.size)
    for row in range(0, len(total), step):
        np.matmul(down[:, row : row + step].T, across, out=total[row : row + step])
    return total


# --- colours --------------------------------------------------------------------------------------------------------


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    s = _limit(share, 0, 1)
    return a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s, a[2] + (b[2] - a[2]) * s


def _scaled(colour: Colour, factor: float) -> Colour:
    return min(colour[0] * factor, 255.0), min(colour[1] * factor, 255.0), min(colour[2] * factor, 255.0)


def _skin_colour(identity: FaceIdentity, nuisance: Nuisance) -> Colour:
    """Pale to dark along melanin, through a tan middle; undertone moves between rosy and olive."""
    melanin = identity.melanin + nuisance.tan
    light, middle, dark = (232.0, 196.0, 174.0), (200.0, 152.0, 118.0), (98.0, 66.0, 50.0)
    base = _mix(light, middle, 2 * melanin) if melanin < 0.5 else _mix(middle, dark, 2 * melanin - 1)
    return base[0] + 4 * identity.undertone, base[1], base[2] - 7 * identity.undertone


def _hair_colour(identity: FaceIdentity) -> Colour:
    pure = _mix((222.0, 190.0, 132.0), (34.0, 26.0, 24.0), identity.hair_darkness**0.7)
    red = _mix(pure, (150.0, 66.0, 30.0), 0.7 * identity.hair_redness * (1.2 - identity.hair_darkness))
    return _mix(red, (190.0, 188.0, 186.0), identity.hair_grey)


def _iris_colour(identity: FaceIdentity) -> Colour:
    hue = identity.iris_hue
    brown, green, blue = (96.0, 60.0, 34.0), (104.0, 116.0, 70.0), (92.0, 132.0, 168.0)
    base = _mix(brown, green, 2 * hue) if hue < 0.5 else _mix(green, blue, 2 * hue - 1)
    return _scaled(base, 0.6 + identity.iris_lightness)


@lru_cache(maxsize=1)
def _strands() -> tuple[FloatArray, FloatArray]:
    """Two (256, 256) textures of mean 0 and deviation 1: straight strands and curls."""
    noise = np.random.default_rng(7).standard_normal((256, 256)).astype(np.float32)

    def fine(sigma_x: float, sigma_y: float) -> FloatArray:
        # The broad part goes: strands without it look like hair, with it like planks.
        kept = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y)
        texture = kept - cv2.GaussianBlur(kept, (0, 0), sigmaX=4 * sigma_x)
        return np.asarray(texture / texture.std(), np.float32)

    return fine(0.9, 12.0), fine(1.7, 2.2)


def _tinted(texture: FloatArray, colour: Colour) -> ByteArray:
    """(h, w) factors times a colour -> (h, w, 3)."""
    return np.asarray(cv2.merge([cv2.convertScaleAbs(texture, alpha=level) for level in colour]), np.uint8)


def _hair_layer(frame: _Frame, identity: FaceIdentity) -> ByteArray:
    straight, curls = _strands()
    curl = np.float32(identity.hair_curl)
    return _tinted(1 + 0.12 * frame.stretch((1 - curl) * straight + curl * curls, 6.0), _hair_colour(identity))


def _skin_layer(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> ByteArray:
    """Skin colour with its flush, the shadows that no light moves (lids, under the nose), and uneven texture."""
    eye, nose, ruddy = identity.eye_distance, identity.nose_length, identity.ruddiness
    lids = 0.12 + 0.12 * identity.eye_bags
    mouth, chin = identity.mouth_height, identity.chin_height
    # x, y, z, sigma x, sigma y, then what is added to the factor of red and to those of green and blue
    rows = [
        (0.0, nose, identity.nose_projection, 0.3, 0.25, 0.04, -0.1 * ruddy),
        (0.0, nose + 0.27, 0.25, 0.34, 0.13, -0.2, -0.23),
        (0.0, mouth + identity.lower_lip + 0.2, 0.0, 0.4, 0.12, -0.13, -0.15),
        (0.0, chin + 0.25, -0.6, 1.5, 0.3, -0.25, -0.27)]  # fmt: skip
    for side in (-1, 1):
        rows += [
            (1.35 * side, 1.35, -0.3, 0.5, 0.45, 0.04 * ruddy, -0.14 * ruddy),
            (eye * side, 0.0, -0.15, 0.5, 0.3, -lids, -1.3 * lids),
            (0.62 * side, 0.05, 0.0, 0.16, 0.35, -0.13, -0.16),
            (2.3 * side, 1.6, -1.4, 0.42, 1.4, -0.22, -0.24)]  # fmt: skip
    table = np.array(rows)
    across, down, _, _ = frame.bumps(table)
    grain = np.random.default_rng(identity.skin_seed).standard_normal((40, 40), np.float32)
    texture = 1 + (0.012 + 0.012 * identity.age) * frame.stretch(grain, 4.0)
    red, green = (texture + _products(down, across * table[:, i : i + 1].astype(np.float32)) for i in (5, 6))
    colour = _skin_colour(identity, nuisance)
    factors = (red, green, green)
    channels = [cv2.convertScaleAbs(part, alpha=level) for part, level in zip(factors, colour, strict=True)]
    return np.asarray(cv2.merge(channels), np.uint8)


# --- painting -------------------------------------------------------------------------------------------------------


def _paint_person(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Everything from back to front."""
    _paint_background(frame, nuisance)
    hair = _hair_layer(frame, identity)
    _paint_body(frame, identity, nuisance, hair)
    _paint_ears(frame, identity, nuisance)
    head = frame.mask(_head_outline(identity, nuisance))
    frame.cover(_skin_layer(frame, identity, nuisance), head)
    frame.person |= head
    _paint_marks(frame, identity, nuisance)
    _paint_beard(frame, identity, nuisance, head, hair)
    _paint_mouth(frame, identity, nuisance)
    _paint_nose(frame, identity, nuisance)
    for side in (-1, 1):
        _paint_eye(frame, identity, nuisance, side)
        _paint_brow(frame, identity, nuisance, side)
    _paint_folds(frame, identity, nuisance)
    _paint_front_hair(frame, identity, nuisance, hair)
    if nuisance.glasses:
        _paint_glasses(frame, identity, nuisance)
    _paint_occluders(frame, identity, nuisance)


def _paint_background(frame: _Frame, nuisance: Nuisance) -> None:
    """Soft blobs of a random palette with a few hard-edged things in them; plain grey for seed 0."""
    height, width = frame.person.shape
    if nuisance.seed == 0:
        frame.albedo[:] = 128
        return
    rng = np.random.default_rng(nuisance.seed)
    base = rng.uniform(40, 215) + rng.normal(0, 22, 3)
    coarse = np.clip(base + rng.normal(0, rng.uniform(5, 35), (5, 5, 1)) + rng.normal(0, 10, (5, 5, 3)), 0, 255)
    frame.albedo[:] = cv2.resize(coarse.astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(0, 5)):
        corner, extent = rng.uniform(-0.2, 1.0, 2) * (width, height), rng.uniform(0.05, 0.6, 2) * (width, height)
        left, top, right, bottom = (int(value) for value in (*corner, *(corner + extent)))
        colour = np.clip(base + rng.normal(0, 35) + rng.normal(0, 15, 3), 0, 255).tolist()
        cv2.rectangle(frame.albedo, (left, top), (right, bottom), colour, -1)


def _head_outline(identity: FaceIdentity, nuisance: Nuisance) -> Matrix:
    top, temple, cheek, jaw = identity.skull_height, identity.temple_width, identity.cheek_width, identity.jaw_width
    chin, chin_half, corner = identity.chin_height + 0.5 * nuisance.mouth_open, identity.chin_width, identity.jaw_height
    return _points(*_mirrored(
        (0.0, -top), (0.6 * temple, -0.87 * top), (0.95 * temple, -0.52 * top), (temple, -0.9), (cheek, 0.3),
        (0.5 * (cheek + jaw), 1.35), (jaw, corner), (0.5 * (jaw + chin_half) - 0.02, 0.45 * corner + 0.55 * chin),
        (chin_half, chin - 0.12), (0.0, chin),
    ), z=_OUTLINE_DEPTH)  # fmt: skip


def _hair_shape(identity: FaceIdentity, nuisance: Nuisance) -> tuple[float, float]:
    """How far down the hair reaches and how far it stands off the skull, face units."""
    volume = max(identity.hair_volume + nuisance.hair_volume_change, 0.03)
    return _limit(identity.hair_length + nuisance.hair_length_change, -1.0, 6.0), volume


def _paint_body(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance, hair: ByteArray) -> None:
    """Hair behind the head, neck and shoulders."""
    length, volume = _hair_shape(identity, nuisance)
    if length > 0.6:
        wide, top = identity.cheek_width + 0.2 + volume, identity.skull_height + volume
        curtain = [(wide, 0.0), (wide, 0.6 * length), (0.85 * wide, length), (0.0, length)]
        mask = frame.mask(_points(*_mirrored((0.0, -top), (0.8 * wide, -0.7 * top), *curtain), z=-2.6))
        frame.cover(hair, mask)
        frame.person |= mask
    half = 0.84 * identity.jaw_width
    neck = [(0.0, 1.8), (half, 1.8), (half, 3.9), (1.4 * half, 5.2), (0.0, 5.2)]
    shoulders = [(0.0, 5.3), (1.1, 4.7), (2.6, 4.9), (4.5, 5.7), (5.4, 7.5), (5.6, 13.0), (0.0, 13.0)]
    frame.hide(_points(*_mirrored(*neck), z=-1.9), _scaled(_skin_colour(identity, nuisance), 0.7))
    frame.hide(_points(*_mirrored(*shoulders), z=-2.4), nuisance.clothes)


def _paint_ears(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    colour = _scaled(_skin_colour(identity, nuisance), 0.85)
    tall = identity.ear_size
    for side in (-1, 1):
        x = side * (identity.cheek_width + identity.ear_stick_out)
        inner = x - 0.35 * side
        outline = _points(
            (inner, 0.5 - tall), (x, 0.35 - tall), (x + 0.12 * side, 0.45), (x - 0.08 * side, 0.5 + tall), (inner, 0.9),
            z=-1.9)  # fmt: skip
        frame.hide(outline, colour)
        rim = outline[:4] + np.array([-0.1 * side, 0.08, 0.0])
        frame.line(rim, _scaled(colour, 0.75), 0.05)


def _paint_marks(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Freckles and moles."""
    skin = _skin_colour(identity, nuisance)
    if identity.freckles > 0:
        spots = np.random.default_rng(identity.skin_seed + 1).normal((0.0, 0.9), (0.95, 0.5), (60, 2))
        colour = _mix(skin, (120.0, 70.0, 40.0), 0.25 + 0.3 * identity.freckles)
        for x, y in spots[: int(60 * min(identity.freckles, 1.0))].tolist():
            frame.disc(_points((_limit(x, -1.7, 1.7), y)), 0.045, colour)
    for x, y, radius in identity.moles:
        frame.disc(_points((x, y)), radius, _mix(skin, (50.0, 30.0, 24.0), 0.75))


def _paint_beard(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance, face: ByteArray, hair: ByteArray) -> None:
    jaw, mouth, half = identity.jaw_width, identity.mouth_height, identity.mouth_width
    chin, top = identity.chin_height + 0.5 * nuisance.mouth_open + 0.15, identity.nose_length + 0.32
    beard = [
        (0.0, mouth + 0.15), (half + 0.12, mouth + 0.05), (jaw * 0.85, mouth - 0.35), (jaw + 0.42, 0.9),
        (jaw + 0.3, mouth), (0.9, chin), (0.0, chin + 0.1)]  # fmt: skip
    lip = [(0.0, top + 0.05), (0.4, top), (half + 0.05, mouth - 0.2), (half + 0.1, mouth + 0.1), (0.0, mouth - 0.1)]
    soft = (frame.stroke(0.2), frame.stroke(0.2))
    for outline, density in ((beard, identity.beard), (lip, identity.moustache)):
        # Stubble grows only on those who have nearly a beard.
        opacity = _limit(density + nuisance.stubble * (density > -0.3), 0.0, 0.9)
        if opacity > 0.03:
            mask = cv2.blur(frame.mask(_points(*_mirrored(*outline))), soft)
            frame.cover(hair, np.minimum(mask, face).astype(np.uint8), opacity)


def _paint_mouth(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    red = _mix((196.0, 104.0, 96.0), (150.0, 60.0, 66.0), identity.lip_colour)
    natural = _mix(_skin_colour(identity, nuisance), red, 0.35 + 0.25 * identity.lip_colour)
    lips = _mix(natural, (176.0, 26.0, 52.0), nuisance.lipstick)
    left, right = _mouth_corners(identity, nuisance)
    half, corners = right[0], 0.5 * (left[1] + right[1])
    # At rest the lips' seam hangs a little below the corners.
    middle = identity.mouth_height + 0.05 + 0.03 * nuisance.smile
    gap = 0.62 * nuisance.mouth_open
    upper, lower = identity.upper_lip * (1 - 0.2 * nuisance.smile), identity.lower_lip * (1 - 0.15 * nuisance.smile)
    side_seam = middle + 0.35 * (corners - middle) + 0.01
    seam = [(-0.5 * half, side_seam), (0.0, middle), (0.5 * half, side_seam)]
    floor = [(-0.5 * half, side_seam + 0.8 * gap), (0.0, middle + gap), (0.5 * half, side_seam + 0.8 * gap)]
    if gap > 0.02:
        frame.fill(_points(left, *seam, right, *reversed(floor)), (70.0, 24.0, 26.0))
        teeth = [(x, y + min(0.55 * gap, 0.16)) for x, y in seam]
        frame.fill(_points(*seam, *reversed(teeth)), (214.0, 206.0, 192.0))
    ridge = [
        (-0.55 * half, side_seam - 0.7 * upper), (-0.18 * half, middle - 1.05 * upper), (0.0, middle - 0.8 * upper),
        (0.18 * half, middle - 1.05 * upper), (0.55 * half, side_seam - 0.7 * upper)]  # fmt: skip
    low = side_seam + 0.8 * (gap + lower)
    edge = [(0.5 * half, low), (0.0, middle + gap + lower), (-0.5 * half, low)]
    frame.fill(_points(left, *ridge, right, *reversed(seam), lift=0.1), _scaled(lips, 0.88))
    frame.fill(_points(left, *floor, right, *edge, lift=0.1), lips)
    frame.line(_points(left, *seam, right, lift=0.1), _scaled(lips, 0.5), 0.045)


def _paint_nose(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Nostrils and the folds of the wings; the shading does the rest."""
    dark = _mix(_skin_colour(identity, nuisance), (46.0, 22.0, 18.0), 0.7)
    y, size, bend = identity.nose_length + 0.17, identity.nostril_size, identity.nose_bend
    for side in (-1, 1):
        x = bend + 0.5 * side * identity.nose_width
        rim = [(x - 1.3 * size, y), (x, y - 0.7 * size), (x + 1.3 * size, y), (x, y + 0.6 * size)]
        frame.fill(_points(*rim, z=0.6 * identity.nose_projection), dark)
        wing = bend + side * (identity.nose_width + 0.06)
        fold = [(wing - 0.06 * side, y - 0.34), (wing + 0.04 * side, y - 0.14), (wing - 0.02 * side, y + 0.05)]
        frame.wrinkle(_points(*fold, z=0.2), 0.45)
        frame.wrinkle(_points((0.0, y + 0.06), (wing - 0.08 * side, y + 0.06), z=0.35), 0.4)


def _paint_eye(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance, side: int) -> None:
    x, half, tilt = side * identity.eye_distance, side * identity.eye_width, identity.eye_tilt
    opening = identity.eye_height * max(nuisance.eye_open, 0.12)
    inner, outer = (x - half, 0.45 * tilt + 0.03), (x + half, -0.55 * tilt)
    arch = [(x - 0.5 * half, -0.82 * opening), (x, -1.08 * opening), (x + 0.55 * half, -0.85 * opening - 0.4 * tilt)]
    upper_lid = _points(inner, *arch, outer)
    lower_lid = _points(outer, (x + 0.5 * half, 0.72 * opening - 0.3 * tilt), (x - 0.4 * half, 0.78 * opening), inner)
    outline = np.concatenate([upper_lid, lower_lid[1:-1]])
    part = frame.window(outline, margin=0.3)

    # The ball is painted apart and laid in through the opening of the lids.
    ball = replace(part, albedo=np.empty_like(part.albedo))
    ball.albedo[:] = (212, 205, 200)
    pupil = _points((x + 0.2 * nuisance.gaze_x, 0.12 * nuisance.gaze_y - 0.02))
    iris = _iris_colour(identity)
    ball.disc(pupil, identity.iris_radius, _scaled(iris, 0.55))
    ball.disc(pupil, 0.82 * identity.iris_radius, iris)
    ball.disc(pupil, 0.5 * identity.iris_radius, (14.0, 12.0, 12.0))
    ball.line(upper_lid, _scaled(_mix(iris, (120.0, 110.0, 104.0), 0.6), 0.6), 0.12)  # the lid's shadow
    part.cover(ball.albedo, part.mask(outline))

    skin = _skin_colour(identity, nuisance)
    part.line(upper_lid, _mix(skin, (26.0, 18.0, 16.0), 0.85), 0.07)
    part.line(lower_lid, _mix(skin, (26.0, 18.0, 16.0), 0.3), 0.035)
    lifted = upper_lid - np.array([0.0, 0.08 + 0.1 * identity.lid_crease, 0.0])
    part.wrinkle(lifted, 0.25 + 0.35 * identity.lid_crease)
    if nuisance.eye_open > 0.5:
        offset = np.array([0.07 if nuisance.light_azimuth > 0 else -0.07, -0.07, 0.0])
        frame.glints.append((pupil + offset, 0.04))


def _paint_brow(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance, side: int) -> None:
    y = -identity.brow_height - 0.25 * nuisance.brow_raise
    line = ((0.0, 0.0, 0.85), (0.35, -0.7, 1.0), (0.65, -1.0, 0.8), (1.0, 0.1, 0.15))  # along, up, thickness
    rows = np.array(line)
    outline = np.empty((8, 2))
    outline[:4, 0] = side * (identity.brow_gap + rows[:, 0] * 1.5 * identity.brow_length)
    outline[:4, 1] = y + rows[:, 1] * identity.brow_arch - rows[:, 0] * identity.brow_tilt
    outline[4:] = outline[3::-1]
    half_thickness = 0.5 * identity.brow_thickness * rows[:, 2]
    outline[:4, 1] -= half_thickness
    outline[4:, 1] += half_thickness[::-1]
    points = _points(*outline.tolist(), lift=0.12)
    skin = _skin_colour(identity, nuisance)
    hair = _mix(_scaled(_hair_colour(identity), 0.85), (30.0, 22.0, 20.0), 0.25)
    # A wider, fainter one first: a brow has no sharp edge.
    faint = points + np.repeat(np.array([[0, -0.035, 0], [0, 0.035, 0]]), 4, axis=0)
    frame.fill(faint, _mix(skin, hair, 0.45 * identity.brow_darkness))
    frame.fill(points, _mix(skin, hair, identity.brow_darkness))


def _paint_folds(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Folds from the nose to the mouth, bags under the eyes, lines on the brow."""
    age, smile, nose = identity.age, max(nuisance.smile, 0.0), identity.nose_length
    corner_x, corner_y = _mouth_corners(identity, nuisance)[1]
    for side in (-1, 1):
        start = side * (identity.nose_width + 0.16)
        fold = [(start, nose + 0.02), (side * (corner_x + 0.05), nose + 0.6), (side * (corner_x + 0.2), corner_y - 0.1)]
        frame.wrinkle(_points(*fold), 0.06 + 0.3 * age + 0.22 * smile, 0.1)
        eye = side * identity.eye_distance
        bag = [(eye - 0.4 * side, 0.24), (eye, 0.4), (eye + 0.4 * side, 0.28)]
        frame.wrinkle(_points(*bag), 0.5 * identity.eye_bags + 0.25 * age)
    for y in (-1.15, -1.42):
        brow_line = [(-0.8, y), (0.0, y - 0.08 - 0.1 * nuisance.brow_raise), (0.8, y)]
        frame.wrinkle(_points(*brow_line), 0.6 * (age - 0.3) + 0.15 * nuisance.brow_raise, 0.05)


def _paint_front_hair(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance, hair: ByteArray) -> None:
    """The cap of hair from the temples over the crown, cut off by the hairline, and locks beside long-haired faces."""
    length, volume = _hair_shape(identity, nuisance)
    top, temple, recess = identity.skull_height, identity.temple_width, identity.hairline_recess
    fringe = max(identity.fringe + nuisance.fringe_change, 0.0)
    line = max(identity.hairline_height - fringe, 0.75)
    part = _limit(identity.hair_parting + nuisance.parting_change, -1.1, 1.1)
    end, side = min(length, 0.7), temple + 0.1 + 0.5 * volume
    outer = _points(
        (-side, end), (-side - 0.05, -0.9), (-0.95 * temple - 0.8 * volume, -0.55 * top),
        (-0.6 * temple, -0.88 * top - 0.85 * volume), (0.0, -top - volume), (0.6 * temple, -0.88 * top - 0.85 * volume),
        (0.95 * temple + 0.8 * volume, -0.55 * top), (side + 0.05, -0.9), (side, end), z=_OUTLINE_DEPTH)  # fmt: skip
    temples = -line - recess + 0.35 * fringe
    inner = _points(
        (0.96 * temple, 0.5 * end - 0.3), (0.9 * temple, -0.55 * line), (0.62 * temple, temples),
        (0.6 * part, -line + 0.25 * recess), (-0.62 * temple, temples), (-0.9 * temple, -0.55 * line),
        (-0.96 * temple, 0.5 * end - 0.3))  # fmt: skip
    # A parting tilts the hairline.
    inner[:, 1] -= 0.3 * part * inner[:, 0] * np.exp(-((inner[:, 1] + line) ** 2))
    outlines = [np.concatenate([outer, inner])]
    if length > 0.9:
        low = min(length, 5.5)
        outlines += [
            _points((s * 0.93 * temple, -1.2), (s * (temple + 0.1), 0.4), (s * 0.95 * temple, low),
                    (s * (side + 0.45), 0.9 * low), (s * (side + 0.15), -0.6), z=-1.0)
            for s in (-1, 1)]  # fmt: skip
    mask = frame.mask(*outlines)
    frame.cover(hair, mask)
    frame.person |= mask
    frame.wrinkle(inner[1:6], 0.3, 0.12)  # the hair's shade on the brow


def _paint_glasses(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    corner, wide, tall = 0.72 + 0.2 * nuisance.lens_shape, 0.68, 0.42 + 0.15 * nuisance.lens_shape
    quarter = np.array([(1, 0), (corner, corner), (0, 1), (-corner, corner)])
    ring = np.concatenate([quarter, -quarter]) * (wide, tall)
    eye = 1.02 * identity.eye_distance
    lenses = [_points(*(ring + np.array([side * eye, 0.08])).tolist(), z=0.25) for side in (-1, 1)]
    if nuisance.lens_darkness > 0:
        tint = np.empty_like(frame.albedo)
        tint[:] = (22, 22, 28)
        frame.cover(tint, frame.mask(*lenses), nuisance.lens_darkness)
    if nuisance.lens_darkness > 0.5:
        frame.glints.clear()
    for side, lens in zip((-1, 1), lenses, strict=True):
        frame.line(lens, nuisance.accessory, 0.06, closed=True)
        hinge, ear = _points((side * (eye + wide), 0.0), z=0.25), _points((side * identity.cheek_width, 0.1), z=-1.6)
        frame.line(np.concatenate([hinge, ear]), nuisance.accessory, 0.06)
    bridge = [(wide - eye, 0.0), (0.0, -0.08), (eye - wide, 0.0)]
    frame.line(_points(*bridge, z=0.4), nuisance.accessory, 0.06)


def _paint_occluders(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """A mask over mouth and nose, a cap, a hand, a thing held before the face."""
    colour = nuisance.accessory
    if nuisance.mask:
        low, wide = identity.chin_height + 0.25, identity.jaw_width + 0.25
        cloth = [(0.0, 0.75), (0.9, 1.05), (wide, 1.2), (wide, 2.2), (1.0, low), (0.0, low + 0.1)]
        frame.hide(_points(*_mirrored(*cloth), lift=0.15), colour)
        for y in (1.6, 2.2, 2.8):
            frame.wrinkle(_points((-1.2, y - 0.1), (0.0, y), (1.2, y - 0.1), lift=0.15), 0.25)
    if nuisance.cap:
        top, wide = identity.skull_height + 0.45, identity.temple_width + 0.25
        crown = [(0.0, -top), (0.7 * wide, -0.82 * top), (wide, -1.5), (0.8 * wide, -1.35), (0.0, -1.55)]
        brim = [(0.0, -1.75), (0.85 * wide, -1.5), (0.85 * wide, -1.2), (0.0, -1.1)]
        frame.hide(_points(*_mirrored(*crown), z=_OUTLINE_DEPTH), colour)
        frame.hide(_points(*_mirrored(*brim), z=0.5), _scaled(colour, 0.65))
    angle = np.radians(nuisance.patch_angle)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = (nuisance.patch_x, nuisance.patch_y)
    if nuisance.hand:
        skin = _skin_colour(identity, nuisance)
        for row, reach in enumerate((1.15, 1.35, 1.3, 1.0)):
            y = 0.38 * (row - 1.5)
            above, below, wrist = y - 0.18, y + 0.18, -3.0
            finger = [(wrist, above), (reach - 0.3, above), (reach, y), (reach - 0.3, below), (wrist, below)]
            outline = _points(*(np.array(finger) @ axes + centre).tolist(), z=0.8)
            frame.hide(outline, _scaled(skin, 0.9))
            frame.wrinkle(outline[2:], 0.5)
    if nuisance.patch_size > 0:
        square = nuisance.patch_size * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) @ axes + centre
        frame.hide(_points(*square.tolist(), z=0.8), colour)


# --- light and camera -----------------------------------------------------------------------------------------------


def _relief(identity: FaceIdentity, nuisance: Nuisance) -> Matrix:
    """(K, 6) bumps of the face's height map: x, y, z, sigma x, sigma y, height."""
    eye, nose, mouth, bend = identity.eye_distance, identity.nose_length, identity.mouth_height, identity.nose_bend
    width, out, depth, ridge = identity.nose_width, identity.nose_projection, identity.eye_depth, identity.brow_ridge
    gap, smile, cheek = 0.62 * nuisance.mouth_open, max(nuisance.smile, 0.0), identity.cheekbones
    rows = [
        (0.4 * bend, 0.35 * nose, 0.45, 0.17 + 0.1 * width, 0.5, identity.nose_bridge),
        (bend, nose - 0.08, out, 0.12 + 0.3 * width, 0.26, 0.55 * out),
        (0.0, -0.85, 0.2, 0.5, 0.3, 0.35 * ridge),
        (0.0, -1.6, 0.0, 1.0, 0.6, 0.15),
        (0.0, mouth - 0.1, 0.1, 0.5, 0.11, 0.09),
        (0.0, mouth + 0.15 + gap, 0.1, 0.42, 0.13, 0.13),
        (0.0, mouth + 0.44 + gap, 0.0, 0.45, 0.13, -0.1),
        (0.0, 0.5 * (nose + mouth) + 0.08, 0.1, 0.08, 0.2, -0.03),
        (0.0, identity.chin_height - 0.45 + 0.8 * gap, 0.1, 0.45, 0.3, 0.2)]  # fmt: skip
    for side in (-1, 1):
        rows += [
            (bend + 0.85 * side * width, nose + 0.04, 0.35, 0.15, 0.16, 0.16),
            (side * eye, -0.05, -0.1, 0.5, 0.32, -depth),
            (side * 0.55, -0.05, 0.0, 0.2, 0.35, -0.6 * depth),
            (side * eye, 0.0, 0.0, 0.3, 0.22, 0.16),
            (side * 1.05, -identity.brow_height - 0.05, 0.1, 0.65, 0.2, ridge),
            (side * 1.4, 0.95, -0.1, 0.48, 0.42, cheek + 0.12 * smile),
            (side * 1.25, 2.1, -0.3, 0.4, 0.5, -0.35 * cheek)]  # fmt: skip
    return np.array(rows)


def _slopes(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> tuple[FloatArray, FloatArray]:
    """The height map's slopes along x and y, each (h, w): bumps on a skull that falls off to its sides."""
    rows = _relief(identity, nuisance)
    across, down, slope_across, slope_down = frame.bumps(rows)
    height = rows[:, 5:6].astype(np.float32)
    centre = frame.view.project(_points((0.0, 0.3), z=-0.6))[0]
    rows_count, columns_count = frame.person.shape
    u = (frame.origin[0] + np.arange(columns_count) / frame.scale - centre[0]) / (identity.cheek_width + 0.25)
    v = (frame.origin[1] + np.arange(rows_count) / frame.scale - centre[1]) / (identity.chin_height + 0.3)
    u, v = np.clip(u, -1, 1), np.clip(v, -1, 1.6)
    # The shoulders are broader than the head, so below the chin the sideways slope fades.
    fade = np.exp(-4 * np.maximum(v - 0.9, 0) ** 2)
    slope_x = _products(down, slope_across * height) - np.outer(fade, 0.55 * u + 0.75 * u**5).astype(np.float32)
    slope_y = (
        _products(slope_down, across * height) - (0.3 * v + 0.6 * np.minimum(v, 1) ** 5).astype(np.float32)[:, None]
    )
    return slope_x, slope_y


def _shade(frame: _Frame, identity: FaceIdentity, nuisance: Nuisance) -> ByteArray:
    """Lambert's law and a little gloss on the person; the background keeps its own light. (h, w, 3)."""
    slope_x, slope_y = _slopes(frame, identity, nuisance)
    azimuth, elevation = np.radians(nuisance.light_azimuth), np.radians(nuisance.light_elevation)
    light = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    towards = light.astype(np.float32)
    facing = towards[2] - towards[0] * slope_x - towards[1] * slope_y
    facing /= np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    np.maximum(facing, 0, out=facing)
    # 1.25 brings a face that is lit from the front back to about its albedo.
    shade = 1.04 - nuisance.light_contrast + 1.25 * nuisance.light_contrast * facing
    soft = (frame.stroke(0.08), frame.stroke(0.08))
    shade *= 1 - cv2.blur(frame.crease, soft).astype(np.float32) * np.float32(0.5 / 255)
    lit = cv2.multiply(frame.albedo, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
    gloss = facing * facing
    gloss *= gloss
    gloss *= gloss
    gloss *= gloss * np.float32(70 * identity.shine * nuisance.light_contrast)
    lit = cv2.add(lit, cv2.merge([gloss] * 3), dtype=cv2.CV_8U)
    frame.cover(np.asarray(lit, np.uint8), frame.person)
    for point, radius in frame.glints:
        frame.disc(point, radius, (235.0, 235.0, 235.0))
    return frame.albedo


@lru_cache(maxsize=2)
def _noise_bank(length: int) -> FloatArray:
    """Normal noise to cut pieces from: drawing fresh noise would take a tenth of a face's time."""
    return np.random.default_rng(8).standard_normal(length, np.float32)


def _degrade(image: ByteArray, nuisance: Nuisance, unit: float) -> ByteArray:
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
