"""Photos -> aligned crops on disk, a chunk at a time; what one worker of an alignment does."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.align.choice import Choice, Limits, Refused, choose
from facedistill.align.detectors.detector import FaceDetector, Photo
from facedistill.align.find import Sighting, find_faces
from facedistill.align.journal import FOLDER, crop_path
from facedistill.align.quality import face_size, sharpness, yaw
from facedistill.align.similarity import estimate_similarity, warp
from facedistill.align.table import FaceRow, MissedRow
from facedistill.align.template import template
from facedistill.data.images import encode_image, read_image
from facedistill.errors import DataError

# Pixels of the photos that are held, and go through the detector, together.
_PIXELS_AT_ONCE = 8_000_000
_NOT_LISTED = "the file of landmarks names no such photo"


class Stopped(Exception):  # noqa: N818  (no error: the work was given up because another part has failed)
    """Raised in a worker that was told to stop."""


@dataclass(frozen=True)
class Job:
    """One photo of the plan.

    Attributes:
        photo: its path within the folder of photos.
        problem: why it cannot be worked on, or None.
    """

    photo: str
    problem: MissedRow | None = None


@dataclass
class ChunkResult:
    """What became of a chunk of photos: rows for both tables, and what was counted."""

    faces: list[FaceRow] = field(default_factory=list)
    missed: list[MissedRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class CropMaker:
    """Makes the crops of photos; called from several threads.

    Args:
        photos, out: the folder of photos and the folder for the crops.
        detector: finds the faces.
        size: height and width of the crops in pixels.
        suffix: of the crops' files, with the dot.
        quality: of lossy formats, 1 to 100.
        choice: which faces are meant.
        limits: what a face must have.
        strict: raise where a photo cannot be read.
    """

    photos: Path
    out: Path
    detector: FaceDetector
    size: int
    suffix: str
    quality: int
    choice: Choice
    limits: Limits
    strict: bool = False

    def make(self, jobs: Sequence[Job], stop: threading.Event | None = None) -> ChunkResult:
        """The crops of some photos, written; rows in the photos' order.

        Args:
            jobs: the photos.
            stop: when set, the work is given up with `Stopped` as soon as possible.

        Raises:
            DataError: `strict` and a photo cannot be read.
            UsageError: see `crop_path`.
            OSError: a crop cannot be written.
        """
        result = ChunkResult()
        for photos, problems in self._read(jobs, stop or threading.Event()):
            sightings = iter(find_faces(photos, self.detector))
            waiting = iter(photos)
            for problem in problems:
                if problem is not None:
                    result.missed.append(problem)
                    result.counts[f"photos {problem.status}"] += 1
                    if problem.status == "unreadable":
                        self._remove_crops(problem.photo, 0)
                else:
                    self._finish_photo(next(waiting), next(sightings), result)
        return result

    def crop_name(self, photo: str, face: int) -> str:
        """The path of a crop within the folder of crops; `face` counts from 0 and matters where all are wanted."""
        stem = photo.rpartition(".")[0]
        return f"{stem}.face{face}{self.suffix}" if self.choice == "all" else f"{stem}{self.suffix}"

    def remake(self, row: FaceRow) -> bool:
        """Write the crop of a row again, from its landmarks; False where the photo is gone or another one now."""
        try:
            image = read_image(self.photos / row.photo)
            matrix = estimate_similarity(np.array(row.landmarks).reshape(5, 2), template(self.size))
        except (DataError, MemoryError, cv2.error):
            return False
        encoded = encode_image(warp(image, matrix, self.size), self.suffix, self.quality)
        if len(encoded) != row.bytes:
            return False  # of another photo these would be the wrong landmarks
        self._write(row.crop, encoded)
        return True

    def _read(self, jobs: Sequence[Job], stop: threading.Event) -> Iterator[tuple[list[Photo], list[MissedRow | None]]]:
        """The photos, a few at a time so that large ones fit in memory, and for each job its problem or None."""
        photos: list[Photo] = []
        problems: list[MissedRow | None] = []
        pixels = 0
        for job in jobs:
            if stop.is_set():
                raise Stopped
            problem = job.problem
            if problem is None:
                try:
                    image = read_image(self.photos / job.photo)
                except DataError as error:
                    # A photo that was removed is no reason to stop: it is what the last stop asked for.
                    if self.strict and not isinstance(error.__cause__, FileNotFoundError):
                        raise DataError(
                            error.cause, place=error.place, next_step="Repair or remove it, or leave out --strict"
                        ) from error
                    problem = MissedRow(job.photo, "unreadable", error.cause)
                except (MemoryError, cv2.error) as error:
                    problem = MissedRow(job.photo, "unreadable", f"the image is too large ({error})")
                else:
                    photos.append(Photo(job.photo, image))
                    pixels += image.shape[0] * image.shape[1]
            problems.append(problem)
            if pixels >= _PIXELS_AT_ONCE:
                yield photos, problems
                photos, problems, pixels = [], [], 0
        if problems:
            yield photos, problems

    def _finish_photo(self, photo: Photo, sighting: Sighting, result: ChunkResult) -> None:
        """Choose among the faces of one photo and write their crops."""
        chosen, refused = choose(sighting.faces, photo.image.shape, self.choice, self.limits)
        made = 0
        for index in chosen:
            row = self._finish_face(photo, sighting, index, made)
            if isinstance(row, FaceRow):
                result.faces.append(row)
                made += 1
            else:
                refused[index] = row
        self._remove_crops(photo.name, made)
        if not len(sighting.faces):
            refused[0] = Refused("no face", "the detector found no face" if self.detector.looks_again else _NOT_LISTED)
        if made:
            result.counts["photos aligned"] += 1
            result.counts[f"attempt {sighting.attempt}"] += 1
            result.counts["crops"] += made
            result.counts["faces not chosen"] += len(sighting.faces) - made - len(refused)
        else:
            result.counts[f"photos {refused[min(refused)].status}"] += 1
        result.counts["faces refused"] += len(refused) if len(sighting.faces) else 0
        # Where one face of several is meant, those behind it are nobody's loss; where every face is, each counts.
        wanted = sorted(refused) if self.choice == "all" else [min(refused)] if not made else []
        for index in wanted:
            result.missed.append(MissedRow(photo.name, refused[index].status, refused[index].reason))

    def _finish_face(self, photo: Photo, sighting: Sighting, index: int, number: int) -> FaceRow | Refused:
        faces = sighting.faces
        # Rounded as the table holds them, so that a crop made again from the table is the same to the byte.
        landmarks = np.round(faces.landmarks[index].astype(np.float64), 2)
        try:
            matrix = estimate_similarity(landmarks, template(self.size))
        except DataError as error:
            return Refused("bad landmarks", error.cause)
        crop = warp(photo.image, matrix, self.size)
        sharp = sharpness(crop)
        least = self.limits.min_sharpness
        if least is not None and not sharp >= least:
            return Refused("filtered", f"the sharpness {sharp:.2f} is below {least:g}")
        name = self.crop_name(photo.name, number)
        encoded = encode_image(crop, self.suffix, self.quality)
        try:
            self._write(name, encoded)
        except (IsADirectoryError, NotADirectoryError, FileExistsError):
            return Refused("name taken", f"the place of its crop is taken by something else ({name})")
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return Refused("name taken", "the name of its crop is too long")
            raise
        return FaceRow(
            photo.name,
            name,
            len(encoded),
            sighting.attempt,
            len(faces),
            float(faces.scores[index]),
            face_size(faces.boxes[index]),
            sharp,
            yaw(landmarks),
            _floats(faces.boxes[index]),
            _floats(landmarks),
            _floats(matrix),
        )

    def _write(self, name: str, encoded: bytes) -> None:
        """Put a crop in its place, whole or not at all."""
        path = crop_path(self.out, name)
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        # Under another name first, apart from the crops, so that no reader of the folder takes half a file for one.
        part = self.out / FOLDER / f"part-{threading.get_ident()}"
        part.write_bytes(encoded)
        part.replace(path)

    def _remove_crops(self, photo: str, first: int) -> None:
        """Remove what a chunk that never ended may have left: no crop stands for a photo that gives none now."""
        for number in range(first, sys.maxsize if self.choice == "all" else 1):
            name = self.crop_name(photo, number)
            if not os.path.isfile(self.out / name):  # noqa: PTH113  (pathlib's raises where the name is too long)
                break
            crop_path(self.out, name).unlink()


def _floats(values: npt.ArrayLike) -> tuple[float, ...]:
    return tuple(float(value) for value in np.asarray(values).ravel())
