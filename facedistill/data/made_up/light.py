"""Shading from a height map of the face, under one distant light."""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.data.made_up.frame import Frame, sum_of_products
from facedistill.data.made_up.geometry import head_points
from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.values import ByteArray, FloatArray, Matrix


def apply_light(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> ByteArray:
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


def _slopes(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> tuple[FloatArray, FloatArray]:
    """The height map's slopes along x and y, each (h, w): bumps on a skull that falls off to its sides."""
    rows = _relief(identity, nuisance)
    across, down, slope_across, slope_down = frame.bumps(rows)
    height = rows[:, 5:6].astype(np.float32)
    centre = frame.view.project(head_points((0.0, 0.3), z=-0.6))[0]
    rows_count, columns_count = frame.person.shape
    u = (frame.origin[0] + np.arange(columns_count) / frame.scale - centre[0]) / (identity.cheek_width + 0.25)
    v = (frame.origin[1] + np.arange(rows_count) / frame.scale - centre[1]) / (identity.chin_height + 0.3)
    u, v = np.clip(u, -1, 1), np.clip(v, -1, 1.6)
    # The shoulders are broader than the head, so below the chin the sideways slope fades.
    fade = np.exp(-4 * np.maximum(v - 0.9, 0) ** 2)
    skull_x = np.outer(fade, 0.55 * u + 0.75 * u**5).astype(np.float32)
    slope_x = sum_of_products(down, slope_across * height) - skull_x
    skull_y = (0.3 * v + 0.6 * np.minimum(v, 1) ** 5).astype(np.float32)[:, None]
    slope_y = sum_of_products(slope_down, across * height) - skull_y
    return slope_x, slope_y


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
