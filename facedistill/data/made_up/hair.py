"""Hair behind the head, round the face and on it. All of it is cut from one layer of strands."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from facedistill.data.made_up.colours import hair_colour
from facedistill.data.made_up.frame import Frame
from facedistill.data.made_up.geometry import OUTLINE_DEPTH, head_points, mirrored
from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.values import ByteArray, Colour, FloatArray, limit


def hair_layer(frame: Frame, identity: FaceIdentity) -> ByteArray:
    """Strands all over the frame, (h, w, 3), for the painters below to lay in where hair grows."""
    straight, curls = _strands()
    curl = np.float32(identity.hair_curl)
    return _tinted(1 + 0.12 * frame.stretch((1 - curl) * straight + curl * curls, 6.0), hair_colour(identity))


def paint_back_hair(frame: Frame, identity: FaceIdentity, nuisance: Nuisance, hair: ByteArray) -> None:
    """Hair that is long enough to hang down behind the head."""
    length, volume = _hair_shape(identity, nuisance)
    if length > 0.6:
        wide, top = identity.cheek_width + 0.2 + volume, identity.skull_height + volume
        curtain = [(wide, 0.0), (wide, 0.6 * length), (0.85 * wide, length), (0.0, length)]
        mask = frame.mask(head_points(*mirrored((0.0, -top), (0.8 * wide, -0.7 * top), *curtain), z=-2.6))
        frame.cover(hair, mask)
        frame.person |= mask


def paint_beard(frame: Frame, identity: FaceIdentity, nuisance: Nuisance, head: ByteArray, hair: ByteArray) -> None:
    """Beard and moustache, or their stubble, inside the head's mask (h, w)."""
    jaw, mouth, half = identity.jaw_width, identity.mouth_height, identity.mouth_width
    chin, top = identity.chin_height + 0.5 * nuisance.mouth_open + 0.15, identity.nose_length + 0.32
    beard = [
        (0.0, mouth + 0.15), (half + 0.12, mouth + 0.05), (jaw * 0.85, mouth - 0.35), (jaw + 0.42, 0.9),
        (jaw + 0.3, mouth), (0.9, chin), (0.0, chin + 0.1)]  # fmt: skip
    lip = [(0.0, top + 0.05), (0.4, top), (half + 0.05, mouth - 0.2), (half + 0.1, mouth + 0.1), (0.0, mouth - 0.1)]
    soft = (frame.stroke(0.2), frame.stroke(0.2))
    for outline, density in ((beard, identity.beard), (lip, identity.moustache)):
        # Stubble grows only on those who have nearly a beard.
        opacity = limit(density + nuisance.stubble * (density > -0.3), 0.0, 0.9)
        if opacity > 0.03:
            mask = cv2.blur(frame.mask(head_points(*mirrored(*outline))), soft)
            frame.cover(hair, np.minimum(mask, head).astype(np.uint8), opacity)


def paint_front_hair(frame: Frame, identity: FaceIdentity, nuisance: Nuisance, hair: ByteArray) -> None:
    """The cap of hair from the temples over the crown, cut off by the hairline, and locks beside long-haired faces."""
    length, volume = _hair_shape(identity, nuisance)
    top, temple, recess = identity.skull_height, identity.temple_width, identity.hairline_recess
    fringe = max(identity.fringe + nuisance.fringe_change, 0.0)
    line = max(identity.hairline_height - fringe, 0.75)
    part = limit(identity.hair_parting + nuisance.parting_change, -1.1, 1.1)
    end, side = min(length, 0.7), temple + 0.1 + 0.5 * volume
    outer = head_points(
        (-side, end), (-side - 0.05, -0.9), (-0.95 * temple - 0.8 * volume, -0.55 * top),
        (-0.6 * temple, -0.88 * top - 0.85 * volume), (0.0, -top - volume), (0.6 * temple, -0.88 * top - 0.85 * volume),
        (0.95 * temple + 0.8 * volume, -0.55 * top), (side + 0.05, -0.9), (side, end), z=OUTLINE_DEPTH)  # fmt: skip
    temples = -line - recess + 0.35 * fringe
    inner = head_points(
        (0.96 * temple, 0.5 * end - 0.3), (0.9 * temple, -0.55 * line), (0.62 * temple, temples),
        (0.6 * part, -line + 0.25 * recess), (-0.62 * temple, temples), (-0.9 * temple, -0.55 * line),
        (-0.96 * temple, 0.5 * end - 0.3))  # fmt: skip
    # A parting tilts the hairline.
    inner[:, 1] -= 0.3 * part * inner[:, 0] * np.exp(-((inner[:, 1] + line) ** 2))
    outlines = [np.concatenate([outer, inner])]
    if length > 0.9:
        low = min(length, 5.5)
        outlines += [
            head_points((s * 0.93 * temple, -1.2), (s * (temple + 0.1), 0.4), (s * 0.95 * temple, low),
                        (s * (side + 0.45), 0.9 * low), (s * (side + 0.15), -0.6), z=-1.0)
            for s in (-1, 1)]  # fmt: skip
    mask = frame.mask(*outlines)
    frame.cover(hair, mask)
    frame.person |= mask
    frame.wrinkle(inner[1:6], 0.3, 0.12)  # the hair's shade on the brow


def _hair_shape(identity: FaceIdentity, nuisance: Nuisance) -> tuple[float, float]:
    """How far down the hair reaches and how far it stands off the skull, face units."""
    volume = max(identity.hair_volume + nuisance.hair_volume_change, 0.03)
    return limit(identity.hair_length + nuisance.hair_length_change, -1.0, 6.0), volume


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
