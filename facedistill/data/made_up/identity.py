"""Who is drawn: the parameters that all pictures of one person share, and how people are drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facedistill.data.made_up.values import limit


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


def sample_identity(rng: np.random.Generator) -> FaceIdentity:
    """One person. Consumes a fixed order of draws from rng, so the same generator state gives the same person."""

    def spread(mean: float, deviation: float) -> float:
        """A normal draw cut at 2.5 deviations: beyond, the face falls apart."""
        return mean + deviation * limit(rng.standard_normal(), -2.5, 2.5)

    def share(mean: float, deviation: float) -> float:
        return limit(spread(mean, deviation), 0.0, 1.0)

    width = spread(1.0, 0.05)
    melanin = float(rng.beta(1.3, 1.7))
    age = float(rng.beta(1.5, 2.2))
    # Most wear their hair above the ears, the others anything from a bob to the waist.
    hair_length = spread(-0.2, 0.5) if rng.random() < 0.55 else float(rng.uniform(0.3, 5.0))
    return FaceIdentity(
        skull_height=spread(3.3, 0.18),
        temple_width=spread(2.12, 0.08) * width,
        cheek_width=spread(2.25, 0.09) * width,
        jaw_width=spread(1.8, 0.16) * width,
        jaw_height=spread(2.25, 0.16),
        chin_width=spread(0.72, 0.15),
        chin_height=spread(3.55, 0.2),
        cheekbones=spread(0.22, 0.1),
        brow_ridge=spread(0.18, 0.09),
        eye_distance=spread(1.0, 0.07),
        eye_width=spread(0.44, 0.045),
        eye_height=spread(0.19, 0.035),
        eye_tilt=spread(0.04, 0.07),
        eye_depth=spread(0.32, 0.1),
        lid_crease=share(0.5, 0.3),
        iris_radius=spread(0.19, 0.012),
        iris_hue=float(rng.beta(0.8, 1.2)) * (1 - 0.8 * melanin),
        iris_lightness=share(0.5 - 0.3 * melanin, 0.2),
        eye_bags=share(0.1 + 0.3 * age, 0.2),
        brow_height=spread(0.58, 0.08),
        brow_thickness=spread(0.14, 0.045),
        brow_arch=spread(0.13, 0.07),
        brow_tilt=spread(0.0, 0.1),
        brow_length=spread(0.72, 0.08),
        brow_gap=spread(0.4, 0.1),
        brow_darkness=share(0.72, 0.18),
        nose_length=spread(1.15, 0.12),
        nose_width=spread(0.42, 0.07) + 0.05 * (melanin - 0.4),
        nose_bridge=spread(0.42, 0.12),
        nose_projection=spread(0.75, 0.12),
        nose_bend=spread(0.0, 0.03),
        nostril_size=spread(0.095, 0.02),
        mouth_height=spread(2.31, 0.12),
        mouth_width=spread(0.83, 0.09),
        upper_lip=max(spread(0.16, 0.05) + 0.04 * melanin - 0.04 * age, 0.05),
        lower_lip=max(spread(0.23, 0.06) + 0.05 * melanin - 0.04 * age, 0.08),
        lip_colour=share(0.45, 0.3),
        mouth_slant=spread(0.0, 0.02),
        ear_size=spread(0.55, 0.08),
        ear_stick_out=spread(0.1, 0.08),
        melanin=melanin,
        undertone=spread(0.0, 1.0),
        ruddiness=share(0.35, 0.3),
        shine=share(0.25, 0.15),
        age=age,
        hair_darkness=share(0.55 + 0.4 * melanin, 0.28),
        hair_redness=share(0.15, 0.3),
        hair_grey=share(1.6 * age - 0.9, 0.25),
        hair_curl=share(0.2 + 0.4 * melanin, 0.3),
        hair_length=hair_length,
        hair_volume=abs(spread(0.22, 0.15)),
        hairline_height=spread(2.05 + 0.25 * age, 0.25),
        hairline_recess=spread(0.05 + 0.25 * age, 0.2),
        hair_parting=spread(0.0, 0.6),
        fringe=max(spread(-0.2, 0.5), 0.0),
        beard=spread(-0.45, 0.55) - 0.5 * max(hair_length - 1.0, 0.0),
        moustache=spread(-0.4, 0.5) - 0.5 * max(hair_length - 1.0, 0.0),
        freckles=max(spread(-0.5, 0.5) * (1 - melanin), 0.0),
        moles=tuple(
            (limit(rng.normal(0, 0.9), -1.7, 1.7), float(rng.uniform(-1.6, 3.0)), float(rng.uniform(0.03, 0.075)))
            for _ in range(rng.poisson(1.2))
        ),
        skin_seed=int(rng.integers(1, 2**31)),
    )
