"""Any data set -> what is in it and whether it is fit for training and evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors import FaceDetector
from facedistill.data.image_header import FORMATS
from facedistill.errors import UsageError
from facedistill.inspection.alignment import check_alignment
from facedistill.inspection.contents import Contents
from facedistill.inspection.duplicates import exact_duplicates, near_duplicates
from facedistill.inspection.image_counts import image_counts
from facedistill.inspection.label_noise import find_label_noise
from facedistill.inspection.label_order import label_order
from facedistill.inspection.overlap import Overlap, shared_people, shared_pictures
from facedistill.inspection.report import InspectReport
from facedistill.inspection.scan import COLOURS, Scan, scan_images
from facedistill.processors import available_processors

if TYPE_CHECKING:
    from facedistill.embedders.embedder import Embedder

Progress = Callable[[int, int], None]

# Kept here because the inspection reads the file as a stranger's: it may be damaged or of another version.
_ALIGN_REPORT = "align-report.json"
_ALIGN_KEYS = ("size", "template", "detector", "format")
_MOST_WORKERS = 8  # as for training: more threads wait for the disk and for one another


def inspect_dataset(
    contents: Contents,
    *,
    detector: FaceDetector | None = None,
    sample: int = 200,
    embedder: Embedder | None = None,
    batch_size: int = 64,
    against: Sequence[Contents] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> InspectReport:
    """Read every image, look for copies, and for faces in a sample; ask a model about the labels.

    The result does not depend on `workers`. Nothing is written. Memory grows by a few hundred bytes an image, and by
    one embedding where there is a model.

    Args:
        contents: what to inspect.
        detector: sees the landmarks of the sample; None leaves the alignment out.
        sample: images that the detector looks at, at most; 0 leaves the alignment out.
        embedder: judges the labels, and who is in a benchmark too; None leaves both out.
        batch_size: images a call of the embedder.
        against: benchmarks with which the data set is to share nothing.
        workers: threads that decode; None takes one for each processor, at most 8.
        progress: called with (done, in all): the images, those of the sample, those embedded, those of the benchmarks.

    Raises:
        UsageError: `sample` or `workers` is out of range, or the detector knows no crops.
        DataError: there is no image that is whole, in the data set or in a benchmark.
        ModelFileError: an embedding is not finite or has no direction.
    """
    if detector is not None:
        check_detector(detector.name)
    workers = min(available_processors(), _MOST_WORKERS) if workers is None else workers
    if workers < 1:
        raise UsageError(f"{workers} workers cannot work", next_step="Use 1 or more")
    if sample < 0:
        raise UsageError(f"a sample of {sample} images cannot be taken", next_step="Use 0 or more")
    looks = detector is not None and sample > 0
    passes = 1 if embedder is None else 2
    benchmark_images = passes * sum(map(len, against))
    steps = _Steps(progress, passes * len(contents) + (min(sample, len(contents)) if looks else 0) + benchmark_images)
    scan = scan_images(contents, workers=workers, progress=steps.next(len(contents)))
    alignment = None
    if looks and detector is not None:
        alignment = check_alignment(
            contents.images,
            detector,
            indices=scan.indices,
            sample=sample,
            progress=steps.next(min(sample, len(contents))),
        )
    duplicates = exact_duplicates(scan)
    near, unchecked = near_duplicates(scan, workers=workers)
    report = InspectReport(
        data=contents.place,
        images=len(scan),
        identities=len(scan.identities),
        image_counts=image_counts(scan.labels),
        outside=int((scan.labels < 0).sum()),
        label_order=label_order(contents.labels, contents.identities) if contents.ordered else None,
        **_image_figures(scan),
        is_folder=contents.folder is not None,
        other_files=contents.other_files,
        outside_links=contents.outside_links,
        pair_set=contents.pair_set,
        unreadable=scan.unreadable,
        duplicates=tuple(duplicates),
        near_duplicates=tuple(near),
        unchecked_pairs=unchecked,
        alignment=alignment,
        made_by_align=None if contents.folder is None else _read_align_report(contents.folder),
    )
    embed = None if embedder is None else _embed(embedder, batch_size)
    embeddings = None
    if embedder is not None and embed is not None:
        embeddings = embed(scan, steps.next(len(contents)))
        noise = find_label_noise(embeddings, scan.labels, scan.names, scan.identities, model=embedder.name)
        report = replace(report, model=embedder.name, label_noise=noise)
    overlaps = []
    for benchmark in against:
        found = scan_images(benchmark, medians=scan.medians, workers=workers, progress=steps.next(len(benchmark)))
        pictures, left = shared_pictures(scan, found, workers=workers)
        overlap = Overlap(benchmark.place, len(found), len(found.unreadable), tuple(pictures), left)
        if embed is not None and embeddings is not None:
            people = shared_people(embeddings, scan, embed(found, steps.next(len(benchmark))), found)
            if people is not None:
                overlap = replace(overlap, people=tuple(people[0]), threshold=people[1])
        overlaps.append(overlap)
    return replace(report, overlaps=tuple(overlaps))


def _embed(embedder: Embedder, batch_size: int) -> Callable[[Scan, Progress | None], npt.NDArray[np.float32]]:
    # What embeds imports torch, which takes seconds that an inspection without a model can do without.
    from facedistill.inspection.embeddings import embed_scan

    return lambda scan, progress: embed_scan(embedder, scan, batch_size=batch_size, progress=progress)


class _Steps:
    """One progress over several passes, each of which counts from 0."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._before = 0
        self._planned = 0

    def next(self, planned: int) -> Progress | None:
        """What to tell the next pass, over `planned` images or, where some cannot be read, fewer."""
        self._before += self._planned
        self._planned = planned
        progress, before, total = self._progress, self._before, self._total
        if progress is None:
            return None
        return lambda done, count: progress(before + (planned if done == count else done), total)


def check_detector(name: str) -> None:
    """UsageError for the detector that has its landmarks from a file: they are places in the photos."""
    if name == "landmarks":
        raise UsageError("the detector 'landmarks' knows the photos, not the crops", next_step="Use mtcnn")


def _image_figures(scan: Scan) -> dict[str, Any]:
    sizes, counts = np.unique(scan.sizes, axis=0, return_counts=True)
    common = int(counts.argmax())
    formats = np.bincount(scan.formats, minlength=len(FORMATS))
    colours = np.bincount(scan.colours, minlength=len(COLOURS))
    return {
        "common_size": (int(sizes[common, 0]), int(sizes[common, 1])),
        "common_size_images": int(counts[common]),
        "size_counts": len(sizes),
        "formats": {name: int(count) for name, count in zip(FORMATS, formats, strict=True) if count},
        "colours": {name: int(count) for name, count in zip(COLOURS, colours, strict=True) if count},
    }


def _read_align_report(folder: Path) -> dict[str, Any] | None:
    """What an alignment said of these crops; None where there is no such report or it cannot be read."""
    try:
        values = json.loads((folder / _ALIGN_REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(values, dict):
        return None
    return {key: values[key] for key in _ALIGN_KEYS if key in values}
