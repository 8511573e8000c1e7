"""The pairs that a model finds hardest: one person's least similar photos, two people's most similar ones."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.metrics import cosine_of
from facedistill.evaluation.verification import VerificationResult
from facedistill.page.html import counted, text
from facedistill.page.thumbnail import thumbnail

SIDE = 112
"""Longer side of a face's picture in pixels; none is enlarged."""


def hardest_pairs(judged: JudgedPairs, *, same: bool, count: int) -> npt.NDArray[np.int64]:
    """Indices of the `count` hardest genuine (`same`) or impostor pairs: hardest first, ties in the list's order."""
    members = np.flatnonzero(judged.same == same)
    ease = -judged.distances[members] if same else judged.distances[members]
    if count < len(members):
        # Sorting fifteen million for the sake of a dozen would take seconds.
        few = ease <= np.partition(ease, count - 1)[count - 1]
        members, ease = members[few], ease[few]
    return np.asarray(members[np.argsort(ease, kind="stable")[:count]], dtype=np.int64)


def pairs_sheets(result: VerificationResult, judged: JudgedPairs, count: int) -> str:
    """Two contact sheets of `count` pairs each, with their faces as far as there are any.

    Args:
        result: what the pairs belong to.
        judged: the pairs.
        count: pairs a sheet at most.
    """
    no_faces = " The figures come from embeddings alone, so there are no faces to show."
    missing = no_faces if judged.images is None else ""
    return _sheet(
        result,
        judged,
        hardest_pairs(judged, same=True, count=count),
        "Hardest genuine pairs",
        f"The least similar photos of one person, or wrong labels.{missing}",
    ) + _sheet(
        result,
        judged,
        hardest_pairs(judged, same=False, count=count),
        "Hardest impostor pairs",
        f"The most similar photos of two people, or one person under two names.{missing}",
    )


def _sheet(
    result: VerificationResult, judged: JudgedPairs, indices: npt.NDArray[np.int64], name: str, hint: str
) -> str:
    faces: dict[int, str | None] = {}  # one that is in several pairs is decoded once
    figures = [_figure(judged, int(index), result.accuracy_threshold, faces) for index in indices]
    unreadable = sum(picture is None for picture in faces.values())
    lost = f" {counted(unreadable, 'photo')} cannot be decoded." if unreadable else ""
    return (
        f"<h3>{name}</h3><p>{hint} {counted(len(figures), 'pair')} of "
        f"{(result.genuine if judged.same[indices[0]] else result.impostor):,}.{lost}</p>"
        f'<div class="sheet duo">{"".join(figures)}</div>'
    )


def _figure(judged: JudgedPairs, index: int, threshold: float, faces: dict[int, str | None]) -> str:
    distance, same = float(judged.distances[index]), bool(judged.same[index])
    frames, names = "", []
    for image in map(int, judged.pairs[index]):
        names.append(f"image {image}" if judged.images is None else judged.images.key(image))
        if judged.images is not None:
            if image not in faces:
                faces[image] = _face(judged, image)
            frames += f'<div class="frame">{faces[image] or _BLANK}</div>'
    accepted = distance < threshold
    verdict = f"{'accepted' if accepted else 'refused'}, {'rightly' if accepted == same else 'wrongly'}"
    wrong = "" if accepted == same else ' class="wrong"'
    pictures = f'<div class="two">{frames}</div>' if frames else ""
    captions = "".join(f'<bdi class="name">{text(name).replace("/", "/<wbr>")}</bdi>' for name in names)
    return (
        f"<figure>{pictures}<figcaption>{captions}<span>cosine {cosine_of(distance):.3f}</span>"
        f"<span>distance {distance:.3f}</span><span{wrong}>{verdict}</span></figcaption></figure>"
    )


_BLANK = '<span class="blank">no picture</span>'


def _face(judged: JudgedPairs, image: int) -> str | None:
    if judged.images is None:
        return None
    try:
        return thumbnail(judged.images.image(image), SIDE)
    except (DataError, MemoryError, cv2.error):  # the latter two for a huge photo
        return None
