"""A data set of made-up people: any number of identities and images, known landmarks, nothing to download.

People are drawn from continuous distributions, so they form a continuum with look-alikes, and every picture of a person
has its own pose, expression, light, camera and occlusion. Picture (seed, person, number) is the same whatever was asked
for before it and by whichever worker.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.images import encode_image, write_image
from facedistill.data.made_up.identity import FaceIdentity, sample_identity
from facedistill.data.made_up.nuisance import Nuisance, sample_nuisance
from facedistill.data.made_up.render import RENDERER_VERSION, SMALLEST_SIZE, RenderedFace, render_face, render_photo
from facedistill.data.made_up.values import FloatArray

# Keys of the random streams: a person's looks and a picture's circumstances never share one.
_IDENTITY_STREAM, _NUISANCE_STREAM = 0, 1
# Crops that a process draws before it reports.
PIECE = 50


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

    def encoded(self, index: int) -> bytes:
        """The crop as a PNG."""
        return encode_image(self.image(index), ".png")

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


def write_folder(
    dataset: SyntheticFaces,
    folder: str | Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the crops as folder/<key>.png and return the paths in the data set's order.

    Args:
        dataset: what to draw.
        folder: where the people's folders go.
        workers: processes that draw; threads would wait for one another.
        progress: told the crops written and to write.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = [Path(folder) / f"{dataset.key(index)}.png" for index in range(len(dataset))]
    pieces = np.array_split(np.arange(len(dataset)), max(1, len(dataset) // PIECE))
    jobs = [(dataset, [(int(index), paths[index]) for index in piece]) for piece in pieces]
    done = 0
    with contextlib.ExitStack() as stack:
        finished: Iterable[int] = map(_write_piece, jobs)
        if workers > 1 and len(jobs) > 1:
            # Started afresh rather than forked: a fork of a process with threads can hang.
            pool = stack.enter_context(get_context("spawn").Pool(workers))
            finished = pool.imap_unordered(_write_piece, jobs)
        for count in finished:
            done += count
            if progress is not None:
                progress(done, len(dataset))
    return paths


def _write_piece(job: tuple[SyntheticFaces, list[tuple[int, Path]]]) -> int:
    dataset, images = job
    for index, path in images:
        write_image(path, dataset.image(index))
    return len(images)


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
