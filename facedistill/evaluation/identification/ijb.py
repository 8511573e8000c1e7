"""The IJB-B and IJB-C protocols: 1:1 over pairs of templates, and 1:N over two galleries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.data.image_source import ImageSource
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.embedder import Embedder
from facedistill.evaluation.identification.identification import IdentificationResult
from facedistill.evaluation.identification.ijb_folder import IjbFolder, read_ijb
from facedistill.evaluation.identification.ijb_lists import TemplateSubjects
from facedistill.evaluation.identification.rates import FPIRS, RANKS, GalleryFigures, gallery_figures
from facedistill.evaluation.identification.search import search_gallery
from facedistill.evaluation.identification.template_pairs import (
    FARS,
    TemplatePairFigures,
    score_pairs,
    template_pair_figures,
)
from facedistill.evaluation.identification.templates import Templates, template_descriptors

_IMAGES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class IjbOptions:
    """How a template's descriptor is made; the defaults are those of published tables.

    Args:
        flip: add the embedding of the mirrored image.
        keep_norm: let an embedding's own length weigh it ("norm score"), or bring each to length 1 first.
        detector_score: weigh each image by its detector score.
    """

    flip: bool = True
    keep_norm: bool = True
    detector_score: bool = True

    def describe(self) -> str:
        """A line for the report."""
        flip = "original and mirrored embeddings summed" if self.flip else "no mirrored images"
        norm = "their norm kept" if self.keep_norm else "each brought to length 1"
        score = "weighed by the detector score" if self.detector_score else "detector score not used"
        return f"templates: {flip}, {norm}, {score}"


@dataclass(frozen=True)
class IjbResult:
    """What one model reaches on IJB-B or IJB-C.

    Args:
        name: the benchmark's.
        images: number of images.
        templates: number of templates.
        options: how the descriptors were made.
        pairs: the 1:1 figures.
        identification: the 1:N figures; None where the folder has no 1:N lists.
        files: name -> SHA-256 of every list.
        notes: what was done on the way.
    """

    name: str
    images: int
    templates: int
    options: IjbOptions
    pairs: TemplatePairFigures
    identification: IdentificationResult | None
    files: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def unresolvable(self) -> dict[str, str]:
        """FAR label -> what it would take, for each FAR that the impostor pairs cannot resolve."""
        return self.pairs.unresolvable

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "images": self.images,
            "templates": self.templates,
            "flip": self.options.flip,
            "keep_norm": self.options.keep_norm,
            "detector_score": self.options.detector_score,
            "pairs": self.pairs.to_dict(),
            "identification": None if self.identification is None else self.identification.to_dict(),
            "files": dict(self.files),
            "notes": list(self.notes),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """The 1:1 table; that of 1:N is `identification.table()`."""
        return self.pairs.table()


def evaluate_ijb(
    embedder: Embedder,
    folder: Path,
    *,
    options: IjbOptions = IjbOptions(),
    batch_size: int = 64,
    fars: Sequence[float] = FARS,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
    progress: Callable[[int, int], None] | None = None,
) -> IjbResult:
    """Align and embed the images of IJB-B or IJB-C, and judge its templates.

    The lists are read and checked before the first image is embedded.

    Args:
        embedder: any model; a cache will not do, since it does not tell whether the images were aligned.
        folder: holds `meta` and `loose_crop`, see `ijb_folder`.
        options: how the descriptors are made.
        batch_size: images a call of the network.
        fars: where TAR is read.
        ranks: where the rank rate is read.
        fpirs: where TPIR is read.
        progress: called with (images done, images) after each batch.

    Raises:
        UsageError, DataError: see `read_ijb`; or an image cannot be decoded.
        ModelFileError: an embedding is not finite.
    """
    ijb = read_ijb(folder)
    images = ijb.images(embedder.preprocessing.size)
    summed = _embed(embedder, images, mirror=options.flip, batch_size=batch_size, progress=progress)
    return judge_ijb(ijb, summed, options=options, fars=fars, ranks=ranks, fpirs=fpirs)


def _embed(
    embedder: Embedder,
    images: ImageSource,
    *,
    mirror: bool,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> npt.NDArray[np.float32]:
    """(N, D) embeddings, mirrored ones added, made a part at a time: those of all would take three times as much."""
    summed = np.empty((len(images), embedder.embedding_size), dtype=np.float32)
    for start in range(0, len(images), _IMAGES_AT_ONCE):

        def report(done: int, _: int, before: int = start) -> None:
            if progress is not None:
                progress(before + done, len(images))

        wanted = np.arange(start, min(len(images), start + _IMAGES_AT_ONCE))
        part = embed_dataset(embedder, images, wanted, batch_size=batch_size, mirror=mirror, progress=report)
        summed[wanted] = part.summed
    return summed


def judge_ijb(
    ijb: IjbFolder,
    embeddings: npt.NDArray[np.floating],
    *,
    options: IjbOptions = IjbOptions(),
    fars: Sequence[float] = FARS,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
) -> IjbResult:
    """Judge (N, D) embeddings of the images, mirrored ones added where `options.flip` says so.

    Raises:
        DataError: a template has no direction, or a class has no pair.
    """
    templates = template_descriptors(
        embeddings,
        ijb.templates,
        ijb.media,
        detector_scores=ijb.detector_scores if options.detector_score else None,
        keep_norm=options.keep_norm,
    )
    cosines = score_pairs(templates, ijb.pairs.templates)
    pairs = template_pair_figures(cosines, ijb.pairs.same, name=ijb.name, fars=fars)
    notes = [options.describe()]
    identification = None
    if ijb.probes is None:
        notes.append("1:N is left out: the folder has no lists of galleries and probes")
    else:
        identification = _identify(ijb, ijb.probes, templates, ranks, fpirs)
    return IjbResult(
        ijb.name, len(ijb.names), len(templates.ids), options, pairs, identification, ijb.files, tuple(notes)
    )


def _identify(
    ijb: IjbFolder,
    probes: TemplateSubjects,
    templates: Templates,
    ranks: Sequence[int],
    fpirs: Sequence[float],
) -> IdentificationResult:
    """Search each gallery by itself, where the people of the other are non-mated, and both as one."""

    def figures(name: str, gallery: TemplateSubjects) -> GalleryFigures:
        entries, looked_for = templates.of(gallery.templates), templates.of(probes.templates)
        searches = search_gallery(looked_for, probes.subjects, entries, gallery.subjects)
        people = len(np.unique(gallery.subjects))
        return gallery_figures(
            searches, name=name, entries=len(gallery.templates), people=people, ranks=ranks, fpirs=fpirs
        )

    together = TemplateSubjects(
        np.concatenate([gallery.templates for gallery in ijb.galleries.values()]),
        np.concatenate([gallery.subjects for gallery in ijb.galleries.values()]),
    )
    return IdentificationResult(
        ijb.name,
        tuple(figures(name, gallery) for name, gallery in ijb.galleries.items()),
        figures("+".join(ijb.galleries), together),
    )
