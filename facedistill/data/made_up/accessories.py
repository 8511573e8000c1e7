"""Things worn on the face or held before it."""

from __future__ import annotations

import numpy as np

from facedistill.data.made_up.colours import scaled, skin_colour
from facedistill.data.made_up.frame import Frame
from facedistill.data.made_up.geometry import OUTLINE_DEPTH, head_points, mirrored
from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.values import Matrix


def paint_accessories(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """All that the nuisance asks for, from back to front."""
    if nuisance.glasses:
        _paint_glasses(frame, identity, nuisance)
    if nuisance.mask:
        _paint_mask(frame, identity, nuisance)
    if nuisance.cap:
        _paint_cap(frame, identity, nuisance)
    if nuisance.hand:
        _paint_hand(frame, identity, nuisance)
    if nuisance.patch_size > 0:
        square = nuisance.patch_size * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])
        frame.hide(_held(square, nuisance), nuisance.accessory)


def _paint_glasses(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    corner, wide, tall = 0.72 + 0.2 * nuisance.lens_shape, 0.68, 0.42 + 0.15 * nuisance.lens_shape
    quarter = np.array([(1, 0), (corner, corner), (0, 1), (-corner, corner)])
    ring = np.concatenate([quarter, -quarter]) * (wide, tall)
    eye = 1.02 * identity.eye_distance
    lenses = [head_points(*(ring + np.array([side * eye, 0.08])).tolist(), z=0.25) for side in (-1, 1)]
    if nuisance.lens_darkness > 0:
        tint = np.empty_like(frame.albedo)
        tint[:] = (22, 22, 28)
        frame.cover(tint, frame.mask(*lenses), nuisance.lens_darkness)
    if nuisance.lens_darkness > 0.5:
        frame.glints.clear()
    for side, lens in zip((-1, 1), lenses, strict=True):
        frame.line(lens, nuisance.accessory, 0.06, closed=True)
        hinge = head_points((side * (eye + wide), 0.0), z=0.25)
        ear = head_points((side * identity.cheek_width, 0.1), z=-1.6)
        frame.line(np.concatenate([hinge, ear]), nuisance.accessory, 0.06)
    bridge = [(wide - eye, 0.0), (0.0, -0.08), (eye - wide, 0.0)]
    frame.line(head_points(*bridge, z=0.4), nuisance.accessory, 0.06)


def _paint_mask(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """A mask over mouth and nose."""
    low, wide = identity.chin_height + 0.25, identity.jaw_width + 0.25
    cloth = [(0.0, 0.75), (0.9, 1.05), (wide, 1.2), (wide, 2.2), (1.0, low), (0.0, low + 0.1)]
    frame.hide(head_points(*mirrored(*cloth), lift=0.15), nuisance.accessory)
    for y in (1.6, 2.2, 2.8):
        frame.wrinkle(head_points((-1.2, y - 0.1), (0.0, y), (1.2, y - 0.1), lift=0.15), 0.25)


def _paint_cap(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    top, wide = identity.skull_height + 0.45, identity.temple_width + 0.25
    crown = [(0.0, -top), (0.7 * wide, -0.82 * top), (wide, -1.5), (0.8 * wide, -1.35), (0.0, -1.55)]
    brim = [(0.0, -1.75), (0.85 * wide, -1.5), (0.85 * wide, -1.2), (0.0, -1.1)]
    frame.hide(head_points(*mirrored(*crown), z=OUTLINE_DEPTH), nuisance.accessory)
    frame.hide(head_points(*mirrored(*brim), z=0.5), scaled(nuisance.accessory, 0.65))


def _paint_hand(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Four fingers side by side, without the palm."""
    skin = scaled(skin_colour(identity, nuisance), 0.9)
    for row, reach in enumerate((1.15, 1.35, 1.3, 1.0)):
        y = 0.38 * (row - 1.5)
        above, below, wrist = y - 0.18, y + 0.18, -3.0
        finger = [(wrist, above), (reach - 0.3, above), (reach, y), (reach - 0.3, below), (wrist, below)]
        outline = _held(np.array(finger), nuisance)
        frame.hide(outline, skin)
        frame.wrinkle(outline[2:], 0.5)


def _held(outline: Matrix, nuisance: Nuisance) -> Matrix:
    """An outline (N, 2) brought before the face at the patch's place and angle, as head points (N, 3)."""
    angle = np.radians(nuisance.patch_angle)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return head_points(*(outline @ axes + (nuisance.patch_x, nuisance.patch_y)).tolist(), z=0.8)
