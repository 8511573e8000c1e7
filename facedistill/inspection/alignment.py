"""Whether crops are aligned, judged by where a detector sees the landmarks in a sample of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.align.choice import pick
from facedistill.align.detectors import FaceDetector, Photo
from facedistill.align.framed import Framed, frame
from facedistill.align.similarity import estimate_similarity, transform_points
from facedistill.align.template import template
from facedistill.data.image_source import ImageSource
from facedistill.errors import DataError

Floats = npt.NDArray[np.float64]

Verdict = Literal["aligned to the ArcFace template", "aligned, but to something else", "not aligned", "not known"]

# Ours, in pixels of a face as large as in a 112 crop, measured on 150 to 300 images each. What a face's pose and
# expression do to single landmarks is taken out first by fitting the template to each face's five.
LARGEST_SPREAD = 3.5
"""90th percentile of the faces' distance from their common place, up to which they count as aligned.

LFW crops (112, 64, 128, 96 x 112, wide ones) have 1.5 to 1.9 where the detector that looks, MTCNN, is also the one that
aligned them, and 2.7 to 3.0 where one of the two is CenterFace; turned at random by 4 degrees 3.0. LFW's photos, which
are roughly centred, have 4.1 to 4.7; FaceNet's crops of a detector's box with a margin 12.
"""
LARGEST_OFFSET = 2.6
"""Distance of the common place from the template up to which that is what they are aligned to.

LFW crops have 0.4 to 0.8 seen by MTCNN, 1.6 to 2.3 by CenterFace; those enlarged by 5 % 1.0, those moved by 3 pixels
3.0, crops of the 128 custom 9.
"""
FEWEST_FACES = 5
"""Faces below which nothing is said."""
LEAST_SEEN = 0.5
"""Share of the sample in which a face has to be seen for anything to be said."""

_LARGEST = 500  # pixels of the longer side that the detector is given, before the padding
_BATCH = 16
_BASE = 112


@dataclass(frozen=True)
class AlignmentCheck:
    """What the landmarks of a sample say; lengths are pixels of a 112 crop (the longer side scaled to 112).

    Attributes:
        detector: what saw the landmarks.
        sampled: images looked at.
        seen: those in which a face was seen.
        error_median, error_p90: mean distance of an image's five landmarks from the template of its size; None where
            no face was seen, as are the following.
        spread_p90: 90th percentile of the distance of a face from the common place, pose taken out; of a face as large
            as the template's.
        offset: mean distance of the common place from the template.
        scale, rotation, shift: of the common place against the template, around its middle: factor, degrees, pixels.
        verdict: see `Verdict`.
    """

    detector: str
    sampled: int
    seen: int
    error_median: float | None = None
    error_p90: float | None = None
    spread_p90: float | None = None
    offset: float | None = None
    scale: float | None = None
    rotation: float | None = None
    shift: tuple[float, float] | None = None
    verdict: Verdict = "not known"

    @property
    def unseen_share(self) -> float:
        """Share of the sample without a detection, 0 to 1."""
        return 1 - self.seen / self.sampled if self.sampled else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "unseen_share": round(self.unseen_share, 4)}


def check_alignment(
    source: ImageSource,
    detector: FaceDetector,
    *,
    indices: Sequence[int] | npt.NDArray[np.int64] | None = None,
    sample: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> AlignmentCheck:
    """Look for the faces in a random sample of the images.

    Args:
        source: the images.
        detector: any of the registry.
        indices: those to choose from, None for all.
        sample: how many images to look at, at most.
        seed: decides which.
        progress: called with (images done, images in the sample).
    """
    usable = np.arange(len(source)) if indices is None else np.asarray(indices, dtype=np.int64)
    chosen = usable[np.sort(np.random.default_rng(seed).permutation(len(usable))[:sample])]
    landmarks: list[Floats] = []
    targets: list[Floats] = []
    for start in range(0, len(chosen), _BATCH):
        photos = [photo for index in chosen[start : start + _BATCH] if (photo := _read(source, int(index)))]
        for photo, found in zip(photos, find_landmarks(photos, detector), strict=True):
            if found is not None:
                longer = max(photo.image.shape[:2])
                landmarks.append(found * (_BASE / longer))
                targets.append(template(longer) * (_BASE / longer))
        if progress is not None:
            progress(min(start + _BATCH, len(chosen)), len(chosen))
    shape = (-1, 5, 2)
    return judge(
        np.array(landmarks).reshape(shape),
        np.array(targets).reshape(shape),
        detector=detector.name,
        sampled=len(chosen),
    )


def judge(landmarks: Floats, targets: Floats, *, detector: str, sampled: int) -> AlignmentCheck:
    """The figures and the verdict for landmarks that were seen.

    Args:
        landmarks: (F, 5, 2), in pixels of a 112 crop.
        targets: (F, 5, 2), the template of each image's size, in the same pixels.
        detector: what saw them.
        sampled: images looked at, F or more.
    """
    seen = len(landmarks)
    if not seen:
        return AlignmentCheck(detector, sampled, 0)
    errors = np.linalg.norm(landmarks - targets, axis=2).mean(axis=1)
    # The template of most images; a folder of many sizes is judged by that too.
    kinds, counts = np.unique(targets.round(6), axis=0, return_counts=True)
    target = kinds[counts.argmax()]
    moved = transform_points(estimate_similarity(np.broadcast_to(target, landmarks.shape), landmarks), target)
    place = estimate_similarity(target, np.median(moved, axis=0))
    common = transform_points(place, target)
    scale = float(np.hypot(place[0, 0], place[1, 0]))
    spreads = np.linalg.norm(moved - common, axis=2).mean(axis=1) / scale
    offset = float(np.linalg.norm(common - target, axis=1).mean())
    shift = (common - target).mean(axis=0)
    spread = float(np.percentile(spreads, 90))
    verdict: Verdict = "aligned to the ArcFace template"
    if seen < FEWEST_FACES or seen < LEAST_SEEN * sampled:
        verdict = "not known"
    elif spread > LARGEST_SPREAD:
        verdict = "not aligned"
    elif offset > LARGEST_OFFSET:
        verdict = "aligned, but to something else"
    return AlignmentCheck(
        detector,
        sampled,
        seen,
        error_median=round(float(np.median(errors)), 3),
        error_p90=round(float(np.percentile(errors, 90)), 3),
        spread_p90=round(spread, 3),
        offset=round(offset, 3),
        scale=round(scale, 4),
        rotation=round(float(np.degrees(np.arctan2(place[1, 0], place[0, 0]))), 2),
        shift=(round(float(shift[0]), 2), round(float(shift[1]), 2)),
        verdict=verdict,
    )


def find_landmarks(photos: Sequence[Photo], detector: FaceDetector) -> list[Floats | None]:
    """(5, 2) landmarks of the main face of each image in its pixels, None where none is seen.

    Images are padded and brought to a moderate size first, unless the detector knows them by name only.
    """
    prepared = [_prepare(photo) if detector.looks_again else Framed(photo) for photo in photos]
    given = [framed.photo for framed in prepared]
    found = detector.detect(given)
    missed = [index for index, faces in enumerate(found) if not len(faces)]
    if missed and detector.looks_again:
        again = detector.detect([given[index] for index in missed], lenient=True)
        for index, faces in zip(missed, again, strict=True):
            found[index] = faces
    landmarks: list[Floats | None] = []
    for faces, framed in zip(found, prepared, strict=True):
        main = pick(faces, framed.photo.image.shape) if len(faces) else None
        landmarks.append(None if main is None else framed.undo(faces).landmarks[main].astype(np.float64))
    return landmarks


def _prepare(photo: Photo) -> Framed:
    """The image at a moderate size, with its edge pixels repeated around it: a crop leaves the face no surroundings."""
    longer = max(photo.image.shape[:2])
    return frame(photo, min(max(1.0, _BASE / longer), _LARGEST / longer), cv2.BORDER_REPLICATE)


def _read(source: ImageSource, index: int) -> Photo | None:
    try:
        return Photo(source.key(index), source.image(index))
    except (DataError, MemoryError, cv2.error):  # gone since it was scanned, or huge
        return None
