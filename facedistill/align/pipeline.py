"""A folder of photos -> a folder of aligned crops, with a record of every photo."""

from __future__ import annotations

import threading
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
from facedistill.align.journal import Journal, clear, holds_alignment, is_begun, only_run
from facedistill.align.page import write_page
from facedistill.align.report import AlignReport
from facedistill.align.review import Review, review_earlier
from facedistill.align.table import MissedRow
from facedistill.align.template import TEMPLATE_NAME, template
from facedistill.data.images import IMAGE_SUFFIXES, FolderScan, check_quality, scan_folder
from facedistill.errors import DataError, UsageError
from facedistill.processors import available_processors

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
    workers = available_processors() if workers is None else workers
    _check_options(size, face, image_format, quality, workers, overwrite=overwrite, resume=resume)
    _check_folders(photos, out, may_hold_one=overwrite or resume)
    scan = scan_folder(photos)
    if not scan.images:
        links = f", and {len(scan.outside_links)} symbolic link(s) out of it are not followed"
        raise DataError(
            "the folder holds no images" + (links if scan.outside_links else ""),
            place=photos,
            next_step="Copy into it what the links lead to"
            if scan.outside_links
            else f"Files that can be read: {', '.join(sorted(IMAGE_SUFFIXES))}",
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
    try:
        with only_run(out), _one_opencv_thread():
            return _align(maker, settings, scan, workers, overwrite=overwrite, resume=resume, progress=progress)
    except OSError as error:
        raise DataError(
            f"the crops cannot be written ({error.strerror or error})",
            place=error.filename or out,
            next_step="Nothing that was finished is lost: see to the disk, then go on with --resume",
        ) from error


def _align(
    maker: CropMaker,
    settings: dict[str, Any],
    scan: FolderScan,
    workers: int,
    *,
    overwrite: bool,
    resume: bool,
    progress: Callable[[int, int], None] | None,
) -> AlignReport:
    """What `align_folder` does once it knows that the call makes sense and that nobody else is at it."""
    photos, out = maker.photos, maker.out
    start = time.perf_counter()
    journal = _open_journal(out, settings, overwrite=overwrite, resume=resume)
    before = sum(map(len, journal.chunks[: journal.done]))
    review = review_earlier(maker, journal) if before else Review()
    if review.retry:
        journal.take_back(review.retry)
    added = journal.add_photos([*scan.images, *scan.outside_links])
    chunks = _jobs(journal, scan, maker)
    if maker.strict:
        _raise_first_problem(chunks[journal.done :], photos)
    total, done = sum(map(len, chunks)), before

    def record(jobs: Sequence[Job], result: ChunkResult) -> None:
        nonlocal done
        journal.finish_chunk(result.faces, result.missed, result.counts)
        done += len(jobs)
        if progress is not None:
            progress(done, total)

    if progress is not None and before:
        progress(before, total)
    _work(maker, chunks[journal.done :], workers, record)
    report = AlignReport(
        settings=settings,
        counts=dict(journal.counts),
        ignored=scan.ignored,
        strangers=len(scan_folder(out).images) - journal.counts["crops"] + review.lost,
        seconds=time.perf_counter() - start,
        worked=total - before,
        added=added if before else 0,
        review=review,
    )
    report.write(out)
    write_page(out, photos, report.summary())
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
    check_quality(quality)
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude one another")


def _check_folders(photos: Path, out: Path, *, may_hold_one: bool) -> None:
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
    if not (out.is_dir() and any(out.iterdir())):
        return
    if not holds_alignment(out):
        raise UsageError(
            "the output folder holds something else than an alignment",
            place=out,
            next_step="Choose a new or empty folder",
        )
    if is_begun(out) and not may_hold_one:
        raise _not_empty(out)


def _not_empty(out: Path) -> UsageError:
    return UsageError(
        "the output folder is not empty",
        place=out,
        next_step="Use --resume to go on with an interrupted run, or --overwrite to replace it",
    )


def _open_journal(out: Path, settings: dict[str, Any], *, overwrite: bool, resume: bool) -> Journal:
    if is_begun(out):
        if resume:
            return Journal.resume(out, settings)
        if not overwrite:  # another run has come and gone since the folder was looked at
            raise _not_empty(out)
        clear(out)
    return Journal.begin(out, settings)


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


def _work(
    maker: CropMaker,
    chunks: Sequence[list[Job]],
    workers: int,
    record: Callable[[Sequence[Job], ChunkResult], None],
) -> None:
    """Make the crops of all chunks and record them in order; threads suffice: networks and codecs run without the lock.

    When it is interrupted or something fails, the chunks that are done by then are recorded still.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="align")
    waiting: deque[tuple[list[Job], Future[ChunkResult]]] = deque()
    stop = threading.Event()
    recording = False

    def take_first() -> None:
        nonlocal recording
        jobs, future = waiting[0]
        result = future.result()
        waiting.popleft()
        recording = True
        record(jobs, result)
        recording = False

    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(maker.make, chunk, stop)))
            if len(waiting) > workers * _CHUNKS_AHEAD:
                take_first()
        while waiting:
            take_first()
    except BaseException:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        # Not after a chunk whose own record failed: the next one would take its place.
        while waiting and not recording and not waiting[0][1].cancelled() and waiting[0][1].exception() is None:
            take_first()
        raise
    finally:
        pool.shutdown(wait=True)  # no worker makes a crop once this has ended


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """The workers share the processors among them; threads of OpenCV's own would only fight for those."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
