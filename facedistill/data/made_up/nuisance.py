"""How somebody is pictured: pose, expression, light, camera and occlusion, and how they are drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facedistill.data.made_up.values import Colour, limit


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


def sample_nuisance(rng: np.random.Generator, difficulty: float = 1.0) -> Nuisance:
    """The circumstances of one picture; difficulty scales their spread and the chance of occlusion.

    A difficulty of 0 gives `Nuisance()`.

    Raises:
        ValueError: difficulty is negative.
    """
    if difficulty < 0:
        raise ValueError(f"difficulty is {difficulty}, but it scales a spread and must be 0 or more")
    if difficulty == 0:
        return Nuisance()

    def spread(deviation: float) -> float:
        return difficulty * deviation * limit(rng.standard_normal(), -2.5, 2.5)

    def chance(probability: float) -> bool:
        return bool(rng.random() < min(difficulty * probability, 0.9))

    def colour() -> Colour:
        red, green, blue = (limit(channel, 10, 245) for channel in rng.uniform(20, 225) + rng.normal(0, 35, 3))
        return red, green, blue

    glasses, patch = chance(0.2), chance(0.1)
    return Nuisance(
        yaw=limit(spread(17.0), -40, 40),
        pitch=limit(spread(9.0), -22, 22),
        roll=limit(spread(9.0), -20, 20),
        camera_distance=limit(24.0 + spread(5.0), 11, 40),
        shift_x=spread(0.018),
        shift_y=spread(0.018),
        zoom=float(np.exp(spread(0.03))),
        tilt=spread(2.5),
        photo_x=0.5 + limit(spread(0.08), -0.15, 0.15),
        photo_y=0.45 + limit(spread(0.05), -0.08, 0.1),
        photo_scale=limit(0.082 * float(np.exp(spread(0.15))), 0.06, 0.105),
        mouth_open=limit(spread(0.35), 0, 0.8),
        smile=limit(0.15 * min(difficulty, 1) + spread(0.5), -0.5, 1.2),
        eye_open=limit(1 + spread(0.2), 0.2, 1.35),
        brow_raise=limit(spread(0.4), -0.7, 1.2),
        gaze_x=limit(spread(0.4), -1, 1),
        gaze_y=limit(spread(0.3), -0.8, 0.8),
        light_azimuth=15.0 + limit(spread(45.0), -100, 85),
        light_elevation=30.0 + limit(spread(18.0), -40, 45),
        light_contrast=limit(0.5 + spread(0.2), 0.1, 0.85),
        exposure=float(np.exp(limit(spread(0.27), -0.6, 0.5))),
        contrast=limit(1 + spread(0.17), 0.5, 1.5),
        warmth=limit(spread(0.12), -0.28, 0.28),
        tint=limit(spread(0.05), -0.12, 0.12),
        hair_length_change=spread(0.8),
        hair_volume_change=spread(0.12),
        fringe_change=spread(0.35),
        parting_change=spread(0.6),
        stubble=spread(0.2),
        lipstick=max(float(rng.uniform(0.2, 0.9)) * chance(0.12), 0.0),
        tan=spread(0.07),
        glasses=glasses,
        lens_darkness=float(rng.choice([0.0, 0.1, 0.9], p=[0.4, 0.4, 0.2])) if glasses else 0.0,
        lens_shape=float(rng.random()),
        cap=chance(0.1),
        mask=chance(0.07),
        hand=chance(0.07),
        patch_size=float(rng.uniform(0.4, 1.0)) if patch else 0.0,
        patch_x=float(rng.uniform(-2.2, 2.2)),
        patch_y=float(rng.uniform(-1.5, 3.2)),
        patch_angle=float(rng.uniform(0, 360)),
        accessory=colour(),
        clothes=colour(),
        blur=abs(spread(0.8)),
        resolution=float(rng.uniform(0.35, 0.8)) if chance(0.3) else 1.0,
        noise=abs(spread(5.0)),
        jpeg_quality=int(rng.integers(25, 90)) if chance(0.5) else 100,
        seed=int(rng.integers(1, 2**31)),
    )
