"""IJB-B or IJB-C in the folder that insightface publishes: `meta/` with the lists, `loose_crop/` with the images.

`X` is `ijbb` or `ijbc`, and is found from the files that are there:

| file in `meta/` | lines |
|---|---|
| `X_face_tid_mid.txt` | image, template, medium |
| `X_name_5pts_score.txt` | image, five landmarks, detector score; the same images in the same order |
| `X_template_pair_label.txt` | two templates, 1 for one person and 0 for two |
| `X_1N_gallery_G1.csv`, `..._G2.csv` (`S1`, `S2` for IJB-B) | template, subject, and more; an image a line |
| `X_1N_probe_mixed.csv` | the same of the probes |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError, UsageError
from facedistill.evaluation.identification.aligned_files import AlignedFiles
from facedistill.evaluation.identification.ijb_lists import (
    TemplatePairs,
    TemplateSubjects,
    pair_line,
    read_landmarks,
    read_template_media,
    read_template_pairs,
    read_template_subjects,
)
from facedistill.files import file_sha256
from facedistill.shown_name import shown_name

_MEDIA = "_face_tid_mid.txt"
_LANDMARKS = "_name_5pts_score.txt"
_PAIRS = "_template_pair_label.txt"
_PROBES = "_1N_probe_mixed.csv"
_GALLERIES = ("G1", "G2"), ("S1", "S2")


@dataclass(frozen=True, eq=False)
class IjbFolder:
    """What the lists say; every template that they name has images.

    Args:
        name: "IJB-B" or "IJB-C", or as the files are called.
        root: the folder of the images.
        names: the N images, relative to it.
        landmarks: (N, 5, 2) float64, pixels of the images.
        detector_scores: (N,) float64.
        templates: (N,) int64, the template of each image.
        media: (N,) int64, the medium that it is of.
        pairs: the pairs of the 1:1 protocol.
        galleries: name -> templates and people of the 1:N galleries; empty where the folder has no 1:N lists.
        probes: templates and people of the 1:N probes, or None.
        files: name -> SHA-256, as hex, of every list.
    """

    name: str
    root: Path
    names: list[str]
    landmarks: npt.NDArray[np.float64]
    detector_scores: npt.NDArray[np.float64]
    templates: npt.NDArray[np.int64]
    media: npt.NDArray[np.int64]
    pairs: TemplatePairs
    galleries: dict[str, TemplateSubjects]
    probes: TemplateSubjects | None
    files: dict[str, str]

    def images(self, size: int) -> AlignedFiles:
        """The N images as aligned crops of `size` pixels."""
        return AlignedFiles(self.root, self.names, self.landmarks, size)


def read_ijb(folder: Path) -> IjbFolder:
    """Read the lists of IJB-B or IJB-C and see that the images are there.

    Raises:
        UsageError: there is no such folder.
        DataError: files are missing (all are named), a line is malformed (named as file:line), lists contradict one
            another, or images are missing.
    """
    prefix, names = _find_lists(folder)
    meta = folder / "meta"
    media = read_template_media(meta / f"{prefix}{_MEDIA}")
    landmarks = read_landmarks(meta / f"{prefix}{_LANDMARKS}")
    _check_same_images(media.names, landmarks.names, meta / f"{prefix}{_MEDIA}", meta / f"{prefix}{_LANDMARKS}")
    root = folder / "loose_crop"
    _check_images(root, landmarks.names, meta / f"{prefix}{_LANDMARKS}")
    pairs_path = meta / f"{prefix}{_PAIRS}"
    pairs = read_template_pairs(pairs_path)
    known = np.unique(media.templates)
    strange = np.flatnonzero(~np.isin(pairs.templates, known).all(axis=1))
    if len(strange):
        first = int(strange[0])
        raise _unknown_templates(
            f"{pairs_path}:{pair_line(pairs_path, first)}",
            np.setdiff1d(pairs.templates[strange], known),
            f"{len(strange)} pairs name",
        )
    subjects = {name: read_template_subjects(meta / name) for name in names if name.startswith(f"{prefix}_1N_")}
    for name, listed in subjects.items():
        if len(unknown := np.setdiff1d(listed.templates, known)):
            raise _unknown_templates(meta / name, unknown, "it names")
    probes = subjects.pop(f"{prefix}{_PROBES}", None)
    return IjbFolder(
        f"IJB-{prefix[3:].upper()}" if prefix in ("ijbb", "ijbc") else prefix,
        root,
        landmarks.names,
        landmarks.points,
        landmarks.scores,
        media.templates,
        media.media,
        pairs,
        {name.removesuffix(".csv").rpartition("_")[2]: listed for name, listed in subjects.items()},
        probes,
        {name: file_sha256(meta / name) for name in names},
    )


def _find_lists(folder: Path) -> tuple[str, list[str]]:
    """The prefix of the lists, and the names of those to read; DataError where any is missing."""
    if not folder.is_dir():
        raise UsageError("there is no such folder of IJB", place=folder)
    meta = folder / "meta"
    present = {entry.name for entry in meta.iterdir()} if meta.is_dir() else set()
    prefixes = sorted({name.removesuffix(_MEDIA) for name in present if name.endswith(_MEDIA)})
    if len(prefixes) != 1:
        found = f"the lists of {len(prefixes)} ({', '.join(prefixes)})" if prefixes else "no list"
        raise DataError(
            f"it holds {found} of images and templates",
            place=meta,
            next_step=f"Give the folder that holds meta/ijbc{_MEDIA} (or ijbb) and loose_crop/",
        )
    prefix = prefixes[0]
    names = [f"{prefix}{ending}" for ending in (_MEDIA, _LANDMARKS, _PAIRS)]
    # Older releases come without the lists of 1:N; some of these without the others would be a broken copy.
    if any(name.startswith(f"{prefix}_1N_") for name in present):
        galleries = [[f"{prefix}_1N_gallery_{name}.csv" for name in both] for both in _GALLERIES]
        names += [*next((both for both in galleries if not present.isdisjoint(both)), galleries[0])]
        names.append(f"{prefix}{_PROBES}")
    missing = [f"meta/{name}" for name in names if name not in present]
    if not (folder / "loose_crop").is_dir():
        missing.append("loose_crop/")
    if missing:
        raise DataError(f"it lacks {', '.join(missing)}", place=folder)
    return prefix, names


def _check_same_images(first: Sequence[str], second: Sequence[str], first_path: Path, second_path: Path) -> None:
    """DataError unless both lists name the same images in the same order, whatever folder they say these are in."""
    if len(first) != len(second):
        raise DataError(f"it lists {len(first)} images and {second_path.name} {len(second)}", place=first_path)
    for number, (name, other) in enumerate(zip(first, second, strict=True), 1):
        if name != other and PurePosixPath(name).name != PurePosixPath(other).name:
            raise DataError(
                f"the image is '{shown_name(name)}' here and '{shown_name(other)}' in {second_path.name}",
                place=f"{first_path}:{number}",
            )


def _check_images(root: Path, names: Sequence[str], path: Path) -> None:
    """DataError that tells how many images are missing."""
    present = {
        entry.name for entry in root.iterdir()
    }  # one look at the folder rather than one for each of 469,375 images
    missing = [name for name in dict.fromkeys(names) if name not in present and not (root / name).is_file()]
    if missing:
        shown = ", ".join(shown_name(name) for name in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{len(missing)} of its images are missing: {shown}", place=path, next_step=f"They are looked for in {root}"
        )


def _unknown_templates(place: object, unknown: npt.NDArray[np.integer], who: str) -> DataError:
    shown = ", ".join(str(template) for template in unknown[:3]) + (", ..." if len(unknown) > 3 else "")
    return DataError(f"{who} {len(unknown)} templates that have no images: {shown}", place=place)
