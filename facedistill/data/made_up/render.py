"""A person under given circumstances as a picture: an aligned crop, or a photo with head and shoulders."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facedistill.align.similarity import estimate_similarity, transform_points
from facedistill.align.template import template
from facedistill.data.made_up.camera import degrade
from facedistill.data.made_up.frame import OVERSAMPLING, Frame
from facedistill.data.made_up.geometry import View, landmark_points, similarity
from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.light import apply_light
from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.painting import paint_person
from facedistill.data.made_up.values import ByteArray, FloatArray, Matrix

RENDERER_VERSION = 1
"""Part of every fingerprint: raise it whenever a change in this package alters pixels."""

SMALLEST_SIZE = 32
"""Below this many pixels a side, eyes and mouth are no longer drawn apart."""


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
    plane = View(nuisance).project(landmark_points(identity, nuisance))
    aligned = estimate_similarity(plane, template(size))
    shift = size * np.array([nuisance.shift_x, nuisance.shift_y])
    jitter = similarity(nuisance.zoom, nuisance.tilt, fixed=(size / 2, size / 2), to=size / 2 + shift)
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
    placed = similarity(size * nuisance.photo_scale, nuisance.roll, fixed=(0.0, 0.8), to=place)
    return _render(identity, nuisance, placed, size)


def _check_size(size: int) -> None:
    if size < SMALLEST_SIZE:
        raise ValueError(f"size is {size}, but a face needs at least {SMALLEST_SIZE} pixels a side")


def _render(identity: FaceIdentity, nuisance: Nuisance, to_image: Matrix, size: int) -> RenderedFace:
    """Draw, shade, warp and degrade; to_image (2, 3) maps the face plane to the picture's pixels."""
    frame = Frame.covering(View(nuisance), to_image, size)
    paint_person(frame, identity, nuisance)
    lit = apply_light(frame, identity, nuisance)
    from_frame = np.column_stack([to_image[:, :2] / frame.scale, to_image[:, :2] @ frame.origin + to_image[:, 2]])
    image = cv2.warpAffine(lit, from_frame, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    landmarks = transform_points(to_image, frame.view.project(landmark_points(identity, nuisance)))
    degraded = degrade(np.asarray(image, np.uint8), nuisance, frame.scale / OVERSAMPLING)
    return RenderedFace(degraded, landmarks.astype(np.float32))
