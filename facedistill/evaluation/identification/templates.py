"""One descriptor for each template, a set of photos and video frames of one person, as IJB's protocol makes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError

_IMAGES_AT_ONCE = 1 << 14  # In float64: 64 MiB of 512 numbers each.


@dataclass(frozen=True, eq=False)
class Templates:
    """The templates of a set of images.

    Args:
        ids: (T,) int64, ascending.
        descriptors: (T, D) float64, each of length 1.
    """

    ids: npt.NDArray[np.int64]
    descriptors: npt.NDArray[np.float64]

    def of(self, templates: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """(M, D) descriptors of (M,) templates, each one of `ids`."""
        return self.descriptors[np.searchsorted(self.ids, templates)]


def template_descriptors(
    original: npt.NDArray[np.floating],
    templates: npt.NDArray[np.int64],
    media: npt.NDArray[np.int64],
    *,
    mirrored: npt.NDArray[np.floating] | None = None,
    detector_scores: npt.NDArray[np.floating] | None = None,
    keep_norm: bool = True,
) -> Templates:
    """Average the images of each medium of a template, add the media up and bring the sum to length 1.

    The protocol of insightface's IJB script, in float64. A mean over a medium and a sum over media is one weighted
    sum, so the images are gone through once, in blocks.

    Args:
        original: (N, D) embeddings as the network gives them.
        templates: (N,) the template of each image.
        media: (N,) the medium that it is of: a photo, or a video for its frames. Equal numbers in two templates are
            averaged in each by itself.
        mirrored: (N, D) embeddings of the mirrored images, which are added (the flip test); None for none.
        detector_scores: (N,) how sure the detector was, a weight of each image; None for equal weights.
        keep_norm: let an embedding's own length weigh it ("norm score"), or bring each to length 1 first.

    Raises:
        DataError: the arrays do not belong together, or a template has no direction: its images' embeddings or
            detector scores are all 0, or not finite.
    """
    images = len(original)
    given = [templates, media, *(array for array in (mirrored, detector_scores) if array is not None)]
    if not images or any(len(array) != images for array in given):
        raise DataError(f"{images} embeddings, and {[len(array) for array in given]} templates, media and so on")
    order = np.lexsort((media, templates))
    new_template = _changes(templates[order])
    new_medium = new_template | _changes(media[order])
    of_template = np.cumsum(new_template) - 1
    medium_sizes = np.diff(np.append(np.flatnonzero(new_medium), images))
    weights = 1.0 / np.repeat(medium_sizes, medium_sizes)
    if detector_scores is not None:
        weights *= detector_scores[order]
    sums = np.zeros((of_template[-1] + 1, original.shape[1]), dtype=np.float64)
    for start in range(0, images, _IMAGES_AT_ONCE):
        part = slice(start, start + _IMAGES_AT_ONCE)
        rows = order[part]
        block = original[rows].astype(np.float64)
        if mirrored is not None:
            block += mirrored[rows]
        if not keep_norm:
            norms = np.linalg.norm(block, axis=1, keepdims=True)
            block /= np.where(norms == 0, 1.0, norms)  # an image without a direction adds nothing
        block *= weights[part, np.newaxis]
        firsts = np.flatnonzero(_changes(of_template[part]))
        # A template that goes on in the next block is added to there.
        sums[of_template[part][firsts]] += np.add.reduceat(block, firsts, axis=0)
    ids = templates[order][new_template].astype(np.int64)
    norms = np.linalg.norm(sums, axis=1)
    faults = ids[~np.isfinite(norms) | (norms == 0)]
    if len(faults):
        shown = ", ".join(str(fault) for fault in faults[:3]) + (", ..." if len(faults) > 3 else "")
        raise DataError(
            f"{len(faults)} of {len(ids)} templates have no direction ({shown})",
            next_step="Their embeddings or detector scores are all 0, or not finite",
        )
    return Templates(ids, sums / norms[:, np.newaxis])


def _changes(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """(N,) whether a value is another than the one before it; the first is."""
    return np.concatenate([[True], values[1:] != values[:-1]])
