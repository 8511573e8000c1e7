"""A folder of photos -> a folder of aligned crops, with a record of every photo."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import cv2

from facedistill.align.choice import Choice, Limits, check_choice
from facedistill.align.crops import ChunkResult, CropMaker, Job
from facedistill.align.detectors.detector import FaceDetector
from facedistill.align.journal import Journal, clear, crop_path, holds_alignment
from facedistill.align.page import write_page
from facedistill.align.report import AlignReport
from facedistill.align.table import MissedRow, read_faces
from facedistill.align.template import TEMPLATE_NAME, template
from facedistill.data.images import IMAGE_SUFFIXES, FolderScan, scan_folder
from facedistill.errors import DataError, UsageError

FORMATS = ("jpg", "png", "webp")
_CHUNKS_AHEAD = 2  # for each worker: more only wait for the slowest one


def align_folder(
    photos: Path,
    out: Path,
    *,
    detector: FaceDetector,
    size: int = 112,
    face: str = "main",
    limits: Limits | None = None,
    image_format: str = "jpg",
    quality: int = 95,
    workers: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> AlignReport:
    """Find the face of every photo and write it, aligned to the ArcFace template.

    `photos/a/b/x.png` becomes `out/a/b/x.jpg`, or `x.face0.jpg`, `x.face1.jpg` and so on where all faces are wanted.
    The folder of crops also gets `landmarks.csv` (a row a crop), `missed.csv` (whatever gave no crop, and why),
    `align-report.json` (settings and counts) and `report.html` (the same to look at). Everything is the same to the
    byte whatever the number of workers, and whether the run was interrupted and resumed or not.

    Args:
        photos: the folder of photos, of any depth; symbolic links are not followed out of it.
        out: the folder for the crops.
        detector: finds the faces; called from several threads.
        size: height and width of the crops in pixels.
        face: which face of several, see `choice.Choice`.
        limits: what a face must have to be taken.
        image_format: "jpg", "png" or "webp".
        quality: of jpg and webp, 1 to 100.
        workers: threads; None takes one for each processor.
        overwrite: replace an earlier alignment in `out`, which is removed first.
        resume: go on with an earlier run in `out`, which must have had the same folder and settings. Photos that have
            come since are taken in, and crops that are missing are made again.
        strict: stop at the first file that is no whole image, or whose crop's name is taken.
        progress: called with (photos done, photos in all) after each chunk.

    Raises:
        UsageError: options or folders that cannot be meant.
        DataError: there are no photos, the output folder cannot be written, or `strict` found something. What was
            finished before is kept and can be resumed.
    """
    photos, out = Path(photos), Path(out)
    limits = limits or Limits()
    workers = (os.cpu_count() or 1) if workers is None else workers
    _check_options(size, face, image_format, quality, workers, overwrite=overwrite, resume=resume)
    _check_folders(photos, out, overwrite=overwrite, resume=resume)
    scan = scan_folder(photos)
    if not scan.images:
        raise DataError(
            "the folder holds no images",
            place=photos,
            next_step=f"Files that can be read: {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    settings: dict[str, Any] = {
        "source": str(photos.resolve()),
        "size": size,
        "color": "rgb",
        "template": TEMPLATE_NAME,
        "format": image_format,
        "quality": None if image_format == "png" else quality,
        "face": face,
        "limits": limits.to_dict(),
        "detector": detector.settings,
    }
    maker = CropMaker(
        photos, out, detector, size, f".{image_format}", quality, cast(Choice, face), limits, strict=strict
    )
    start = time.perf_counter()
    try:
        journal = _open_journal(out, settings, overwrite=overwrite, resume=resume)
        before = _photos_done(journal)
        added = journal.add_photos([*scan.images, *scan.outside_links])
        remade, lost = _remake_missing(maker, out) if resume else (0, 0)
        chunks = _jobs(journal, scan, maker)
        if strict:
            _raise_first_problem(chunks[journal.done :], photos)
        total, done = sum(map(len, chunks)), before
        if progress is not None and before:
            progress(before, total)
        with _one_opencv_thread():
            for jobs, result in _in_order(maker.make, chunks[journal.done :], workers):
                journal.finish_chunk(result.faces, result.missed, result.counts)
                done += len(jobs)
                if progress is not None:
                    progress(done, total)
        report = AlignReport(
            settings=settings,
            counts=dict(journal.counts),
            ignored=scan.ignored,
            strangers=len(scan_folder(out).images) - journal.counts["crops"] + lost,
            seconds=time.perf_counter() - start,
            worked=total - before,
            added=added if before else 0,
            remade=remade,
            lost=lost,
        )
        report.write(out)
        write_page(out, photos, report.summary())
    except OSError as error:
        raise DataError(
            f"the crops cannot be written ({error.strerror or error})",
            place=error.filename or out,
            next_step="Nothing that was finished is lost: see to the disk, then go on with --resume",
        ) from error
    return report


def _check_options(
    size: int, face: str, image_format: str, quality: int, workers: int, *, overwrite: bool, resume: bool
) -> None:
    template(size)
    check_choice(face)
    if workers < 1:
        raise UsageError(f"{workers} workers cannot work", next_step="Use 1 or more")
    if image_format not in FORMATS:
        raise UsageError(f"crops cannot be written as '{image_format}'", next_step=f"Use {', '.join(FORMATS)}")
    if not 1 <= quality <= 100:
        raise UsageError(f"the quality is {quality}", next_step="It lies between 1 and 100; 95 is usual")
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude one another")


def _check_folders(photos: Path, out: Path, *, overwrite: bool, resume: bool) -> None:
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
    occupied = out.is_dir() and any(out.iterdir())
    if not occupied or resume:
        return
    if not holds_alignment(out):
        raise UsageError(
            "the output folder holds something else than an alignment",
            place=out,
            next_step="Choose a new or empty folder",
        )
    if not overwrite:
        raise UsageError(
            "the output folder is not empty",
            place=out,
            next_step="Use --resume to go on with an interrupted run, or --overwrite to replace it",
        )


def _open_journal(out: Path, settings: dict[str, Any], *, overwrite: bool, resume: bool) -> Journal:
    if resume and out.is_dir() and any(out.iterdir()):
        return Journal.resume(out, settings)
    if overwrite and holds_alignment(out):
        clear(out)
    return Journal.begin(out, settings)


def _photos_done(journal: Journal) -> int:
    return sum(map(len, journal.chunks[: journal.done]))


def _jobs(journal: Journal, scan: FolderScan, maker: CropMaker) -> list[list[Job]]:
    """The plan in chunks; a photo that cannot give a crop of its own carries the reason."""
    outside = set(scan.outside_links)
    owners: dict[str, str] = {}

    def job(photo: str) -> Job:
        if photo in outside:
            return Job(photo, MissedRow(photo, "outside link", "a symbolic link that leads out of the folder"))
        crop = maker.crop_name(photo, 0)
        owner = owners.setdefault(crop, photo)
        if owner != photo:
            return Job(photo, MissedRow(photo, "name taken", f"its crop would replace that of {owner} ({crop})"))
        return Job(photo)

    return [[job(photo) for photo in chunk] for chunk in journal.chunks]


def _raise_first_problem(chunks: Sequence[Sequence[Job]], photos: Path) -> None:
    for job in (job for chunk in chunks for job in chunk):
        if job.problem is not None:
            raise DataError(job.problem.reason, place=photos / job.photo, next_step="Rename or remove it")


def _remake_missing(maker: CropMaker, out: Path) -> tuple[int, int]:
    """Make again what the table lists and the folder lacks, or has in another length.

    Returns:
        How many were made again, and how many could not be, since their photos are gone.
    """
    remade = lost = 0
    for row in read_faces(out):
        path = crop_path(out, row.crop)
        if not (path.is_file() and path.stat().st_size == row.bytes):
            if maker.remake(row):
                remade += 1
            else:
                lost += 1
    return remade, lost


def _in_order(
    make: Callable[[Sequence[Job]], ChunkResult], chunks: Sequence[list[Job]], workers: int
) -> Iterator[tuple[list[Job], ChunkResult]]:
    """Each chunk and its result, in order; threads suffice, since networks and codecs run outside the lock."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="align")
    waiting: deque[tuple[list[Job], Future[ChunkResult]]] = deque()
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(make, chunk)))
            if len(waiting) > workers * _CHUNKS_AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        # No worker makes a crop once this has ended.
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """The workers share the processors among them; threads of OpenCV's own would only fight for those."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
