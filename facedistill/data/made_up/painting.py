"""Paints a person and the background as flat colours, without light."""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.data.made_up.accessories import paint_accessories
from facedistill.data.made_up.colours import scaled, skin_colour
from facedistill.data.made_up.features import paint_brow, paint_eye, paint_folds, paint_mouth, paint_nose
from facedistill.data.made_up.frame import Frame
from facedistill.data.made_up.geometry import head_points, mirrored
from facedistill.data.made_up.hair import hair_layer, paint_back_hair, paint_beard, paint_front_hair
from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.skin import paint_ears, paint_head, paint_marks


def paint_person(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Everything from back to front."""
    _paint_background(frame, nuisance)
    hair = hair_layer(frame, identity)
    paint_back_hair(frame, identity, nuisance, hair)
    _paint_body(frame, identity, nuisance)
    paint_ears(frame, identity, nuisance)
    head = paint_head(frame, identity, nuisance)
    paint_marks(frame, identity, nuisance)
    paint_beard(frame, identity, nuisance, head, hair)
    paint_mouth(frame, identity, nuisance)
    paint_nose(frame, identity, nuisance)
    for side in (-1, 1):
        paint_eye(frame, identity, nuisance, side)
        paint_brow(frame, identity, nuisance, side)
    paint_folds(frame, identity, nuisance)
    paint_front_hair(frame, identity, nuisance, hair)
    paint_accessories(frame, identity, nuisance)


def _paint_background(frame: Frame, nuisance: Nuisance) -> None:
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


def _paint_body(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Neck and shoulders."""
    half = 0.84 * identity.jaw_width
    neck = [(0.0, 1.8), (half, 1.8), (half, 3.9), (1.4 * half, 5.2), (0.0, 5.2)]
    shoulders = [(0.0, 5.3), (1.1, 4.7), (2.6, 4.9), (4.5, 5.7), (5.4, 7.5), (5.6, 13.0), (0.0, 13.0)]
    frame.hide(head_points(*mirrored(*neck), z=-1.9), scaled(skin_colour(identity, nuisance), 0.7))
    frame.hide(head_points(*mirrored(*shoulders), z=-2.4), nuisance.clothes)
