"""Mouth, nose, eyes, brows and the folds between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from facedistill.data.made_up.colours import hair_colour, iris_colour, mix, scaled, skin_colour
from facedistill.data.made_up.frame import Frame
from facedistill.data.made_up.geometry import head_points, mouth_corners
from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.nuisance import Nuisance


def paint_mouth(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Both lips and the seam between them; an open mouth shows teeth."""
    red = mix((196.0, 104.0, 96.0), (150.0, 60.0, 66.0), identity.lip_colour)
    natural = mix(skin_colour(identity, nuisance), red, 0.35 + 0.25 * identity.lip_colour)
    lips = mix(natural, (176.0, 26.0, 52.0), nuisance.lipstick)
    left, right = mouth_corners(identity, nuisance)
    half, corners = right[0], 0.5 * (left[1] + right[1])
    # At rest the lips' seam hangs a little below the corners.
    middle = identity.mouth_height + 0.05 + 0.03 * nuisance.smile
    gap = 0.62 * nuisance.mouth_open
    upper, lower = identity.upper_lip * (1 - 0.2 * nuisance.smile), identity.lower_lip * (1 - 0.15 * nuisance.smile)
    side_seam = middle + 0.35 * (corners - middle) + 0.01
    seam = [(-0.5 * half, side_seam), (0.0, middle), (0.5 * half, side_seam)]
    floor = [(-0.5 * half, side_seam + 0.8 * gap), (0.0, middle + gap), (0.5 * half, side_seam + 0.8 * gap)]
    if gap > 0.02:
        frame.fill(head_points(left, *seam, right, *reversed(floor)), (70.0, 24.0, 26.0))
        teeth = [(x, y + min(0.55 * gap, 0.16)) for x, y in seam]
        frame.fill(head_points(*seam, *reversed(teeth)), (214.0, 206.0, 192.0))
    ridge = [
        (-0.55 * half, side_seam - 0.7 * upper), (-0.18 * half, middle - 1.05 * upper), (0.0, middle - 0.8 * upper),
        (0.18 * half, middle - 1.05 * upper), (0.55 * half, side_seam - 0.7 * upper)]  # fmt: skip
    low = side_seam + 0.8 * (gap + lower)
    edge = [(0.5 * half, low), (0.0, middle + gap + lower), (-0.5 * half, low)]
    frame.fill(head_points(left, *ridge, right, *reversed(seam), lift=0.1), scaled(lips, 0.88))
    frame.fill(head_points(left, *floor, right, *edge, lift=0.1), lips)
    frame.line(head_points(left, *seam, right, lift=0.1), scaled(lips, 0.5), 0.045)


def paint_nose(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Nostrils and the folds of the wings; the shading does the rest."""
    dark = mix(skin_colour(identity, nuisance), (46.0, 22.0, 18.0), 0.7)
    y, size, bend = identity.nose_length + 0.17, identity.nostril_size, identity.nose_bend
    for side in (-1, 1):
        x = bend + 0.5 * side * identity.nose_width
        rim = [(x - 1.3 * size, y), (x, y - 0.7 * size), (x + 1.3 * size, y), (x, y + 0.6 * size)]
        frame.fill(head_points(*rim, z=0.6 * identity.nose_projection), dark)
        wing = bend + side * (identity.nose_width + 0.06)
        fold = [(wing - 0.06 * side, y - 0.34), (wing + 0.04 * side, y - 0.14), (wing - 0.02 * side, y + 0.05)]
        frame.wrinkle(head_points(*fold, z=0.2), 0.45)
        frame.wrinkle(head_points((0.0, y + 0.06), (wing - 0.08 * side, y + 0.06), z=0.35), 0.4)


def paint_eye(frame: Frame, identity: FaceIdentity, nuisance: Nuisance, side: int) -> None:
    """One eye with its lids, on the left (side -1) or the right (1) of the picture. Leaves its glint to the light."""
    x, half, tilt = side * identity.eye_distance, side * identity.eye_width, identity.eye_tilt
    opening = identity.eye_height * max(nuisance.eye_open, 0.12)
    inner, outer = (x - half, 0.45 * tilt + 0.03), (x + half, -0.55 * tilt)
    arch = [(x - 0.5 * half, -0.82 * opening), (x, -1.08 * opening), (x + 0.55 * half, -0.85 * opening - 0.4 * tilt)]
    upper_lid = head_points(inner, *arch, outer)
    sag = [(x + 0.5 * half, 0.72 * opening - 0.3 * tilt), (x - 0.4 * half, 0.78 * opening)]
    lower_lid = head_points(outer, *sag, inner)
    outline = np.concatenate([upper_lid, lower_lid[1:-1]])
    part = frame.window(outline, margin=0.3)

    # The ball is painted apart and laid in through the opening of the lids.
    ball = replace(part, albedo=np.empty_like(part.albedo))
    ball.albedo[:] = (212, 205, 200)
    pupil = head_points((x + 0.2 * nuisance.gaze_x, 0.12 * nuisance.gaze_y - 0.02))
    iris = iris_colour(identity)
    ball.disc(pupil, identity.iris_radius, scaled(iris, 0.55))
    ball.disc(pupil, 0.82 * identity.iris_radius, iris)
    ball.disc(pupil, 0.5 * identity.iris_radius, (14.0, 12.0, 12.0))
    ball.line(upper_lid, scaled(mix(iris, (120.0, 110.0, 104.0), 0.6), 0.6), 0.12)  # the lid's shadow
    part.cover(ball.albedo, part.mask(outline))

    skin = skin_colour(identity, nuisance)
    part.line(upper_lid, mix(skin, (26.0, 18.0, 16.0), 0.85), 0.07)
    part.line(lower_lid, mix(skin, (26.0, 18.0, 16.0), 0.3), 0.035)
    lifted = upper_lid - np.array([0.0, 0.08 + 0.1 * identity.lid_crease, 0.0])
    part.wrinkle(lifted, 0.25 + 0.35 * identity.lid_crease)
    if nuisance.eye_open > 0.5:
        offset = np.array([0.07 if nuisance.light_azimuth > 0 else -0.07, -0.07, 0.0])
        frame.glints.append((pupil + offset, 0.04))


def paint_brow(frame: Frame, identity: FaceIdentity, nuisance: Nuisance, side: int) -> None:
    """One brow, on the left (side -1) or the right (1) of the picture."""
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
    points = head_points(*outline.tolist(), lift=0.12)
    skin = skin_colour(identity, nuisance)
    hair = mix(scaled(hair_colour(identity), 0.85), (30.0, 22.0, 20.0), 0.25)
    # A wider, fainter one first: a brow has no sharp edge.
    faint = points + np.repeat(np.array([[0, -0.035, 0], [0, 0.035, 0]]), 4, axis=0)
    frame.fill(faint, mix(skin, hair, 0.45 * identity.brow_darkness))
    frame.fill(points, mix(skin, hair, identity.brow_darkness))


def paint_folds(frame: Frame, identity: FaceIdentity, nuisance: Nuisance) -> None:
    """Folds from the nose to the mouth, bags under the eyes, lines on the brow."""
    age, smile, nose = identity.age, max(nuisance.smile, 0.0), identity.nose_length
    corner_x, corner_y = mouth_corners(identity, nuisance)[1]
    for side in (-1, 1):
        start = side * (identity.nose_width + 0.16)
        fold = [(start, nose + 0.02), (side * (corner_x + 0.05), nose + 0.6), (side * (corner_x + 0.2), corner_y - 0.1)]
        frame.wrinkle(head_points(*fold), 0.06 + 0.3 * age + 0.22 * smile, 0.1)
        eye = side * identity.eye_distance
        bag = [(eye - 0.4 * side, 0.24), (eye, 0.4), (eye + 0.4 * side, 0.28)]
        frame.wrinkle(head_points(*bag), 0.5 * identity.eye_bags + 0.25 * age)
    for y in (-1.15, -1.42):
        brow_line = [(-0.8, y), (0.0, y - 0.08 - 0.1 * nuisance.brow_raise), (0.8, y)]
        frame.wrinkle(head_points(*brow_line), 0.6 * (age - 0.3) + 0.15 * nuisance.brow_raise, 0.05)
