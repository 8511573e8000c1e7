"""What of the skin shows before there are features: ears, the head, freckles and moles."""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.data.made_up.colours import mix, scaled, skin_colour
from facedistill.data.made_up.frame import Frame, sum_of_products
from facedistill.data.made_up.geometry import OUTLINE_DEPTH, head_points, mirrored
from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.values import ByteArray, Matrix, limit


def paint_head(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> ByteArray:
    """Skin from the crown to the chin. Returns the head's mask, (h, w), 255 inside."""
    head = frame.mask(_head_outline(identity, nuisance))
    frame.cover(_skin_layer(frame, identity, nuisance), head)
    frame.person |= head
    return head


def _head_outline(identity: FaceIdentity, nuisance: Nuisance) -> Matrix:
    top, temple, cheek, jaw = identity.skull_height, identity.temple_width, identity.cheek_width, identity.jaw_width
    chin, chin_half, corner = identity.chin_height + 0.5 * nuisance.mouth_open, identity.chin_width, identity.jaw_height
    return head_points(*mirrored(
        (0.0, -top), (0.6 * temple, -0.87 * top), (0.95 * temple, -0.52 * top), (temple, -0.9), (cheek, 0.3),
        (0.5 * (cheek + jaw), 1.35), (jaw, corner), (0.5 * (jaw + chin_half) - 0.02, 0.45 * corner + 0.55 * chin),
        (chin_half, chin - 0.12), (0.0, chin),
    ), z=OUTLINE_DEPTH)  # fmt: skip


def _skin_layer(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> ByteArray:
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
    red, green = (texture + sum_of_products(down, across * table[:, i : i + 1].astype(np.float32)) for i in (5, 6))
    colour = skin_colour(identity, nuisance)
    factors = (red, green, green)
    channels = [cv2.convertScaleAbs(part, alpha=level) for part, level in zip(factors, colour, strict=True)]
    return np.asarray(cv2.merge(channels), np.uint8)


def paint_ears(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Both ears with their rims; the head is painted over their inner edges."""
    colour = scaled(skin_colour(identity, nuisance), 0.85)
    tall = identity.ear_size
    for side in (-1, 1):
        x = side * (identity.cheek_width + identity.ear_stick_out)
        inner = x - 0.35 * side
        outline = head_points(
            (inner, 0.5 - tall), (x, 0.35 - tall), (x + 0.12 * side, 0.45), (x - 0.08 * side, 0.5 + tall), (inner, 0.9),
            z=-1.9)  # fmt: skip
        frame.hide(outline, colour)
        rim = outline[:4] + np.array([-0.1 * side, 0.08, 0.0])
        frame.line(rim, scaled(colour, 0.75), 0.05)


def paint_marks(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Freckles and moles."""
    skin = skin_colour(identity, nuisance)
    if identity.freckles > 0:
        spots = np.random.default_rng(identity.skin_seed + 1).normal((0.0, 0.9), (0.95, 0.5), (60, 2))
        colour = mix(skin, (120.0, 70.0, 40.0), 0.25 + 0.3 * identity.freckles)
        for x, y in spots[: int(60 * min(identity.freckles, 1.0))].tolist():
            frame.disc(head_points((limit(x, -1.7, 1.7), y)), 0.045, colour)
    for x, y, radius in identity.moles:
        frame.disc(head_points((x, y)), radius, mix(skin, (50.0, 30.0, 24.0), 0.75))
