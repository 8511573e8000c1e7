"""Colours of skin, hair and iris, and how to mix them."""

from __future__ import annotations

from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.values import Colour, limit


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """From a at a share of 0 to b at 1; shares beyond count as the nearer of the two."""
    s = limit(share, 0, 1)
    return a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s, a[2] + (b[2] - a[2]) * s


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour made darker or brighter, at most white."""
    return min(colour[0] * factor, 255.0), min(colour[1] * factor, 255.0), min(colour[2] * factor, 255.0)


def skin_colour(identity: FaceIdentity, nuisance: Nuisance) -> Colour:
    """Pale to dark along melanin, through a tan middle; undertone moves between rosy and olive."""
    melanin = identity.melanin + nuisance.tan
    light, middle, dark = (232.0, 196.0, 174.0), (200.0, 152.0, 118.0), (98.0, 66.0, 50.0)
    base = mix(light, middle, 2 * melanin) if melanin < 0.5 else mix(middle, dark, 2 * melanin - 1)
    return base[0] + 4 * identity.undertone, base[1], base[2] - 7 * identity.undertone


def hair_colour(identity: FaceIdentity) -> Colour:
    """Blond to black along darkness, then towards red and towards grey."""
    pure = mix((222.0, 190.0, 132.0), (34.0, 26.0, 24.0), identity.hair_darkness**0.7)
    red = mix(pure, (150.0, 66.0, 30.0), 0.7 * identity.hair_redness * (1.2 - identity.hair_darkness))
    return mix(red, (190.0, 188.0, 186.0), identity.hair_grey)


def iris_colour(identity: FaceIdentity) -> Colour:
    """Brown through green to blue along hue."""
    hue = identity.iris_hue
    brown, green, blue = (96.0, 60.0, 34.0), (104.0, 116.0, 70.0), (92.0, 132.0, 168.0)
    base = mix(brown, green, 2 * hue) if hue < 0.5 else mix(green, blue, 2 * hue - 1)
    return scaled(base, 0.6 + identity.iris_lightness)
