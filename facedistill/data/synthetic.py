"""A data set of made-up people: any number of identities and images, known landmarks, nothing to download.

People are drawn from continuous distributions, so they form a continuum with look-alikes, and every picture of a person
has its own pose, expression, light, camera and occlusion. Picture (seed, person, number) is the same whatever was asked
for before it and by whichever worker.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.face_renderer import (
    RENDERER_VERSION,
    SMALLEST_SIZE,
    Colour,
    FaceIdentity,
    FloatArray,
    Nuisance,
    RenderedFace,
    render_face,
    render_photo,
)
from facedistill.data.images import write_image

# Keys of the random streams: a person's looks and a picture's circumstances never share one.
_IDENTITY_STREAM, _NUISANCE_STREAM = 0, 1


def _limit(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def sample_identity(rng: np.random.Generator) -> FaceIdentity:
    """One person. Consumes a fixed order of draws from rng, so the same generator state gives the same person."""

    def spread(mean: float, deviation: float) -> float:
        """A normal draw cut at 2.5 deviations: beyond, the face falls apart."""
        return mean + deviation * _limit(rng.standard_normal(), -2.5, 2.5)

    def share(mean: float, deviation: float) -> float:
        return _limit(spread(mean, deviation), 0.0, 1.0)

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
            (_limit(rng.normal(0, 0.9), -1.7, 1.7), float(rng.uniform(-1.6, 3.0)), float(rng.uniform(0.03, 0.075)))
            for _ in range(rng.poisson(1.2))
        ),
        skin_seed=int(rng.integers(1, 2**31)),
    )


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
        return difficulty * deviation * _limit(rng.standard_normal(), -2.5, 2.5)

    def chance(probability: float) -> bool:
        return bool(rng.random() < min(difficulty * probability, 0.9))

    def colour() -> Colour:
        red, green, blue = (_limit(channel, 10, 245) for channel in rng.uniform(20, 225) + rng.normal(0, 35, 3))
        return red, green, blue

    glasses, patch = chance(0.2), chance(0.1)
    return Nuisance(
        yaw=_limit(spread(17.0), -40, 40),
        pitch=_limit(spread(9.0), -22, 22),
        roll=_limit(spread(9.0), -20, 20),
        camera_distance=_limit(24.0 + spread(5.0), 11, 40),
        shift_x=spread(0.018),
        shift_y=spread(0.018),
        zoom=float(np.exp(spread(0.03))),
        tilt=spread(2.5),
        photo_x=0.5 + _limit(spread(0.08), -0.15, 0.15),
        photo_y=0.45 + _limit(spread(0.05), -0.08, 0.1),
        photo_scale=_limit(0.082 * float(np.exp(spread(0.15))), 0.06, 0.105),
        mouth_open=_limit(spread(0.35), 0, 0.8),
        smile=_limit(0.15 * min(difficulty, 1) + spread(0.5), -0.5, 1.2),
        eye_open=_limit(1 + spread(0.2), 0.2, 1.35),
        brow_raise=_limit(spread(0.4), -0.7, 1.2),
        gaze_x=_limit(spread(0.4), -1, 1),
        gaze_y=_limit(spread(0.3), -0.8, 0.8),
        light_azimuth=15.0 + _limit(spread(45.0), -100, 85),
        light_elevation=30.0 + _limit(spread(18.0), -40, 45),
        light_contrast=_limit(0.5 + spread(0.2), 0.1, 0.85),
        exposure=float(np.exp(_limit(spread(0.27), -0.6, 0.5))),
        contrast=_limit(1 + spread(0.17), 0.5, 1.5),
        warmth=_limit(spread(0.12), -0.28, 0.28),
        tint=_limit(spread(0.05), -0.12, 0.12),
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


@lru_cache(maxsize=4096)
def _person(seed: int, person: int) -> FaceIdentity:
    """Person `person` of world `seed`; kept, because a person's images mostly follow one another."""
    return sample_identity(np.random.default_rng((seed, _IDENTITY_STREAM, person)))


class SyntheticFaces:
    """Aligned crops of made-up people, as a `FaceDataset`.

    Attributes:
        labels: (N,) int64, 0 to identities - 1.
        identities: the people's names, by label.
        fingerprint: sha256 hex digest of all that decides the pixels.
        size: the crops' side in pixels.
    """

    def __init__(
        self,
        identities: int,
        images_per_identity: int,
        *,
        seed: int = 0,
        size: int = 112,
        first_identity: int = 0,
        difficulty: float = 1.0,
    ) -> None:
        """People first_identity to first_identity + identities - 1 of world `seed`: disjoint ranges are other people.

        Raises:
            ValueError: a count is below 1, size is below 32, or seed, first_identity or difficulty is negative.
        """
        for name, value, least in (
            ("identities", identities, 1),
            ("images_per_identity", images_per_identity, 1),
            ("size", size, SMALLEST_SIZE),
            ("seed", seed, 0),
            ("first_identity", first_identity, 0),
            ("difficulty", difficulty, 0),
        ):
            if not value >= least:
                raise ValueError(f"{name} is {value}, but must be at least {least}")
        self.images_per_identity = images_per_identity
        self.seed = seed
        self.size = size
        self.first_identity = first_identity
        self.difficulty = float(difficulty)
        self.labels: npt.NDArray[np.int64] = np.repeat(np.arange(identities, dtype=np.int64), images_per_identity)
        self.identities = [f"person_{first_identity + person:06d}" for person in range(identities)]
        recipe = {
            "renderer": RENDERER_VERSION,
            "identities": identities,
            "images_per_identity": images_per_identity,
            "seed": seed,
            "size": size,
            "first_identity": first_identity,
            "difficulty": self.difficulty,
        }
        self.fingerprint = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """(size, size, 3) uint8 RGB.

        Raises:
            IndexError: index is not 0 to len - 1, here and in the methods below.
        """
        return self.face(index).image

    def landmarks(self, index: int) -> FloatArray:
        """(5, 2) float32 pixels of the crop, in the order of `RenderedFace`."""
        return self.face(index).landmarks

    def key(self, index: int) -> str:
        """A stable name, such as person_000012/0003."""
        person, number = self._split(index)
        return f"{self.identities[person]}/{number:04d}"

    def face(self, index: int) -> RenderedFace:
        """Image and landmarks in one drawing."""
        identity, nuisance = self.parameters(index)
        return render_face(identity, nuisance, self.size)

    def photo(self, index: int, size: int = 250) -> RenderedFace:
        """The same person under the same circumstances as crop `index`, unaligned in a larger picture."""
        identity, nuisance = self.parameters(index)
        return render_photo(identity, nuisance, size)

    def parameters(self, index: int) -> tuple[FaceIdentity, Nuisance]:
        """What is drawn for image `index`."""
        label, number = self._split(index)
        person = self.first_identity + label
        circumstances = np.random.default_rng((self.seed, _NUISANCE_STREAM, person, number))
        return _person(self.seed, person), sample_nuisance(circumstances, self.difficulty)

    def _split(self, index: int) -> tuple[int, int]:
        """Label and number within the person's images."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}: the index must be 0 to {len(self) - 1}")
        return divmod(index, self.images_per_identity)


def write_folder(dataset: SyntheticFaces, folder: str | Path) -> list[Path]:
    """Write the crops as folder/<key>.png and return the paths in the data set's order.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = [Path(folder) / f"{dataset.key(index)}.png" for index in range(len(dataset))]
    for index, path in enumerate(paths):
        write_image(path, dataset.image(index))
    return paths


def write_photos(dataset: SyntheticFaces, folder: str | Path, size: int = 250) -> FloatArray:
    """Write the unaligned photos as folder/<key>.png and return their true landmarks, (N, 5, 2) float32 pixels.

    Raises:
        OSError: the folder cannot be written.
    """
    photos = (dataset.photo(index, size) for index in range(len(dataset)))
    landmarks = []
    for index, photo in enumerate(photos):
        write_image(Path(folder) / f"{dataset.key(index)}.png", photo.image)
        landmarks.append(photo.landmarks)
    return np.stack(landmarks)
