"""A folder of face crops -> what is in it and whether it is fit for training and evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.align.detectors import FaceDetector
from facedistill.errors import UsageError
from facedistill.inspection.alignment import check_alignment
from facedistill.inspection.duplicates import exact_duplicates, near_duplicates
from facedistill.inspection.header import FORMATS
from facedistill.inspection.report import InspectReport
from facedistill.inspection.scan import COLOURS, Scan, scan_images

# Kept here because the inspection reads the file as a stranger's: it may be damaged or of another version.
_ALIGN_REPORT = "align-report.json"
_ALIGN_KEYS = ("size", "template", "detector", "format")
_MOST_WORKERS = 8  # as for training: more threads wait for the disk and for one another


def inspect_folder(
    folder: Path,
    *,
    detector: FaceDetector | None = None,
    sample: int = 200,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> InspectReport:
    """Read every image below `folder`, look for copies, and look for faces in a sample.

    The result does not depend on `workers`. Nothing is written. Memory grows by a few hundred bytes an image.

    Args:
        folder: one sub-folder of images a person; an image's identity is the folder that it lies in.
        detector: sees the landmarks of the sample; None leaves the alignment out.
        sample: images that the detector looks at, at most; 0 leaves the alignment out.
        workers: threads that decode; None takes one for each processor, at most 8.
        progress: called with (done, in all): the images, then those of the sample.

    Raises:
        UsageError: there is no such folder, `sample` or `workers` is out of range, or the detector knows no crops.
        DataError: the folder is a file, holds no images, or none that is whole.
    """
    folder = Path(folder)
    if detector is not None:
        check_detector(detector.name)
    workers = min(os.cpu_count() or 1, _MOST_WORKERS) if workers is None else workers
    if workers < 1:
        raise UsageError(f"{workers} workers cannot work", next_step="Use 1 or more")
    if sample < 0:
        raise UsageError(f"a sample of {sample} images cannot be taken", next_step="Use 0 or more")
    looks = detector is not None and sample > 0
    ahead = sample if looks else 0
    total = 0

    def scanned(done: int, count: int) -> None:
        nonlocal total
        total = count + min(ahead, count)
        if progress is not None:
            progress(done, total)

    scan = scan_images(folder, workers=workers, progress=scanned)
    alignment = None
    if looks and detector is not None:
        before = total - min(ahead, len(scan))
        alignment = check_alignment(
            folder,
            scan.names,
            detector,
            sample=sample,
            progress=None if progress is None else lambda done: progress(before + done, total),
        )
    duplicates = exact_duplicates(scan)
    near, unchecked = near_duplicates(scan, workers=workers)
    return InspectReport(
        folder=str(folder),
        images=len(scan),
        **_identity_figures(scan),
        **_image_figures(scan),
        other_files=scan.other_files,
        outside_links=scan.outside_links,
        unreadable=scan.unreadable,
        duplicates=tuple(duplicates),
        near_duplicates=tuple(near),
        unchecked_pairs=unchecked,
        alignment=alignment,
        made_by_align=_read_align_report(folder),
    )


def check_detector(name: str) -> None:
    """UsageError for the detector that has its landmarks from a file: they are places in the photos."""
    if name == "landmarks":
        raise UsageError("the detector 'landmarks' knows the photos, not the crops", next_step="Use mtcnn")


def _identity_figures(scan: Scan) -> dict[str, Any]:
    counts = np.bincount(scan.labels[scan.labels >= 0], minlength=len(scan.identities))
    spread = (int(counts.min()), float(np.median(counts)), int(counts.max())) if len(counts) else None
    return {
        "identities": len(scan.identities),
        "images_per_identity": spread,
        "single_identities": int((counts == 1).sum()),
        "outside": int((scan.labels < 0).sum()),
    }


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
