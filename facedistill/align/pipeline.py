"""A folder of photos -> a folder of aligned crops, with a report of every photo."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facedistill.align.detectors.detector import FaceDetector
from facedistill.align.find import find_main_face
from facedistill.align.report import AlignReport, PhotoResult, read_rows, read_settings
from facedistill.align.similarity import estimate_similarity, warp
from facedistill.align.template import TEMPLATE_NAME, template
from facedistill.data.images import find_images, read_image, write_image
from facedistill.errors import DataError, UsageError

FORMATS = ("jpg", "png")
_PART = ".aligning"
_CHUNK = 1024  # photos handed to the workers at a time: a folder of millions would otherwise be queued whole


@dataclass(frozen=True)
class _Job:
    photo: str
    crop: str
    taken_by: str | None = None


def align_folder(
    photos: Path,
    out: Path,
    *,
    detector: FaceDetector,
    size: int = 112,
    image_format: str = "jpg",
    workers: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> AlignReport:
    """Find the main face of every photo and write it, aligned to the ArcFace template.

    `photos/a/b/x.png` becomes `out/a/b/x.jpg`. Photos without a face and files that are no whole image are listed in
    the report and skipped. The crops are the same whatever the number of workers, and each file is written whole or
    not at all, so that an interrupted run can be resumed.

    Args:
        photos: the folder of photos, of any depth.
        out: the folder for the crops, `align-report.csv` (one row a photo) and `align-report.json` (summary).
        detector: finds the faces; called from several threads.
        size: height and width of the crops in pixels.
        image_format: "jpg" (quality 95) or "png".
        workers: threads; None takes one for each processor.
        overwrite: write into an output folder that holds files; crops of the same name are replaced.
        resume: as `overwrite`, but crops that exist are kept; they must come from the same folder and settings.
        strict: stop at the first file that is no whole image, or whose crop's name is taken.
        progress: called with (photos done, photos in all) after each photo.

    Raises:
        UsageError: options or folders that cannot be meant.
        DataError: there are no photos, the output folder cannot be written, or `strict` found something.
    """
    photos, out = Path(photos), Path(out)
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise UsageError(f"{workers} workers cannot work", next_step="Use 1 or more")
    if image_format not in FORMATS:
        raise UsageError(f"crops cannot be written as '{image_format}'", next_step="Use jpg or png")
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude one another")
    target = template(size)
    _check_folders(photos, out)
    jobs = _plan(photos, image_format)
    if strict:
        for job in jobs:
            if job.taken_by is not None:
                raise DataError(_taken(job), place=photos / job.photo, next_step="Rename one of them")
    settings: dict[str, Any] = {
        "source": str(photos.resolve()),
        "size": size,
        "color": "rgb",
        "template": TEMPLATE_NAME,
        "format": image_format,
        "detector": detector.settings,
    }
    earlier = _prepare(out, settings, overwrite=overwrite, resume=resume)

    def work(job: _Job) -> PhotoResult:
        if job.taken_by is not None:
            return PhotoResult(job.photo, "", "name taken", _taken(job))
        path = out / job.crop
        if resume and path.is_file():
            before = earlier.get(job.photo)
            if before is None or before.crop != job.crop:
                return PhotoResult(job.photo, job.crop, "kept")
            return replace(before, status="kept")
        path.unlink(missing_ok=True)  # a crop of an earlier run must not stand for a photo that gives none now
        try:
            image = read_image(photos / job.photo)
        except DataError as error:
            if strict:
                raise
            return PhotoResult(job.photo, "", "unreadable", error.cause)
        face = find_main_face(image, detector)
        if face is None:
            return PhotoResult(job.photo, "", "no face", "the detector found no face")
        try:
            matrix = estimate_similarity(face.landmarks, target)
        except DataError as error:
            return PhotoResult(job.photo, "", "no face", error.cause)
        crop = warp(image, matrix, size)
        # Under a hidden name first, so that no reader of the folder takes the unfinished file for a crop.
        part = path.with_name(f".{path.stem}{_PART}{path.suffix}")
        write_image(part, crop)
        part.replace(path)
        return PhotoResult.of_face(job.photo, job.crop, face)

    rows: list[PhotoResult] = []
    start = time.perf_counter()
    finished = False
    try:
        # Closed before the report is written: no worker makes a crop after that.
        with closing(_in_order(work, jobs, workers)) as results:
            for row in results:
                rows.append(row)
                if progress is not None:
                    progress(len(rows), len(jobs))
        finished = True
    finally:
        if not finished:
            seen = {row.photo for row in rows}
            rows += [row for photo, row in earlier.items() if photo not in seen]
        made = {row.crop for row in rows}
        present = [path.relative_to(out).as_posix() for path in find_images(out)] if finished else []
        report = AlignReport(
            rows=tuple(rows),
            settings=settings,
            seconds=time.perf_counter() - start,
            finished=finished,
            leftovers=tuple(name for name in present if name not in made),
        )
        report.write(out)
    return report


def _in_order(
    work: Callable[[_Job], PhotoResult], jobs: list[_Job], workers: int
) -> Generator[PhotoResult, None, None]:
    """The results in the order of the jobs; threads suffice, since the networks run outside the interpreter's lock."""
    if workers == 1:
        yield from map(work, jobs)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="align") as pool:
        try:
            for first in range(0, len(jobs), _CHUNK):
                yield from pool.map(work, jobs[first : first + _CHUNK])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _check_folders(photos: Path, out: Path) -> None:
    if not photos.is_dir():
        raise UsageError("there is no such folder of photos", place=photos)
    source, sink = photos.resolve(), out.resolve()
    if source == sink or source in sink.parents or sink in source.parents:
        raise UsageError(
            "the folder of photos and the folder for the crops lie in one another",
            place=out,
            next_step="Choose an output folder beside the photos",
        )
    if out.exists() and not out.is_dir():
        raise UsageError("the output is a file, not a folder", place=out)


def _plan(photos: Path, image_format: str) -> list[_Job]:
    """Every photo with its crop's name; a second photo of the same crop name is marked."""
    names = [path.relative_to(photos) for path in find_images(photos)]
    if not names:
        raise DataError(
            "the folder holds no images", place=photos, next_step="Expected: .jpg, .png, .bmp or .webp files"
        )
    owners: dict[str, str] = {}
    jobs = []
    for name in names:
        photo, crop = name.as_posix(), name.with_suffix(f".{image_format}").as_posix()
        owner = owners.setdefault(crop, photo)
        jobs.append(_Job(photo, crop, None if owner == photo else owner))
    return jobs


def _taken(job: _Job) -> str:
    return f"its crop would replace that of {job.taken_by} ({job.crop})"


def _prepare(out: Path, settings: dict[str, Any], *, overwrite: bool, resume: bool) -> dict[str, PhotoResult]:
    """Make the output folder ready and return the rows of the run that is resumed, by photo."""
    occupied = out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir())
    if occupied and not (overwrite or resume):
        raise UsageError(
            "the output folder is not empty",
            place=out,
            next_step="Use --resume to go on with an interrupted run, or --overwrite to write over it",
        )
    earlier = {}
    if occupied and resume:
        before = read_settings(out)
        if before is None:
            raise UsageError("nothing to resume: the folder holds no report of an alignment", place=out)
        changed = [name for name, value in settings.items() if before.get(name) != value]
        if changed:
            name = changed[0]
            raise UsageError(
                f"the earlier run had {name} {before.get(name)!r}, this one has {settings[name]!r}",
                place=out,
                next_step="Resume with the same settings, or choose another output folder",
            )
        earlier = read_rows(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for part in out.rglob(f".*{_PART}.*"):
            part.unlink()  # left behind by a run that was killed
        # Written before any work, so that a run which is killed can be resumed.
        AlignReport(rows=tuple(earlier.values()), settings=settings, seconds=0.0, finished=False).write(out)
    except OSError as error:
        raise DataError(f"the output folder cannot be written ({error.strerror})", place=out) from error
    return earlier
