"""An ONNX file that gives scores, boxes and keypoints for cells of 8, 16 and 32 pixels, as SCRFD and YuNet do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors.single_shot import STRIDE
from facedistill.errors import ModelFileError, UsageError
from facedistill.onnx_session import open_session, session_device

Floats = npt.NDArray[np.float32]

STRIDES = (8, 16, 32)

_SCORE, _BOX, _KEYPOINTS = 1, 4, 10  # columns, by which the outputs are told apart
_PROBE = 64  # side of the blank picture that shows what a network of any size gives


@dataclass(frozen=True)
class Level:
    """What the network says of the R rows of one stride: cell after cell, within a cell anchor after anchor.

    Attributes:
        stride: pixels from one cell to the next.
        cells: (R, 2) float32 column and row of each cell.
        scores: (B, R) float32, for each output of scores in the file's order.
        boxes: (B, R, 4) float32.
        keypoints: (B, R, 10) float32.
    """

    stride: int
    cells: Floats
    scores: list[Floats]
    boxes: Floats
    keypoints: Floats


class PyramidHeads:
    """The network; its outputs are told apart by their shapes, since every export names and orders them its own way.

    Args:
        file: the ONNX file; None raises UsageError.
        detector: what the network is called in messages.
        scores: how many outputs of scores there are for each stride.
        wanted: names files that would do, for messages.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.

    Attributes:
        size: height and width of the pictures that it takes, None for any multiples of 32.
        batches: whether it takes several pictures at once and keeps them apart.
        device: "cpu" or "cuda", where it runs.

    Raises:
        UsageError: no file is given.
        ModelFileError: the file cannot be loaded, or is no such network.
    """

    def __init__(
        self, file: Path | None, *, detector: str, scores: int, wanted: str, device: str, threads: int
    ) -> None:
        if file is None:
            raise UsageError(
                f"{detector} needs its network, which comes with no package",
                next_step=f"Give an ONNX file with --detector-file: {wanted}",
            )
        if not file.is_file():
            problem = "this is a folder, not a file" if file.is_dir() else "there is no such file"
            raise ModelFileError(problem, place=file, next_step=f"Wanted is {wanted}")
        self._file, self._detector, self._scores, self._wanted = file, detector, scores, wanted
        try:
            self._session = open_session(file, device=device, threads=threads)
        except ModelFileError as error:
            hint = error.next_step or f"Wanted is {wanted}"
            raise ModelFileError(error.cause, place=error.place, next_step=hint) from error
        self.device = session_device(self._session)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(shape) != 4 or shape[1] not in (3, None, "3"):
            taken = ", ".join(f"{value.type} {value.shape}" for value in inputs)
            raise self._foreign(f"takes {taken} and not float pictures (N, 3, H, W)")
        self._input = inputs[0].name
        self.size = (shape[2], shape[3]) if isinstance(shape[2], int) and isinstance(shape[3], int) else None
        if self.size and (self.size[0] % STRIDE or self.size[1] % STRIDE):
            raise self._foreign(f"takes pictures of {self.size[0]} x {self.size[1]}, no multiples of {STRIDE}")
        self._places = self._find_places(self._probe(1))
        # The first exports of SCRFD drop the axis of pictures and mix the pictures of a batch.
        self.batches = not isinstance(shape[0], int) and all(
            output.ndim == 3 and len(output) == 2 for output in self._probe(2)
        )

    def __call__(self, pictures: Floats) -> list[Level]:
        """One level a stride, for (B, 3, H, W) float32 pictures; B is 1 where `batches` is false."""
        outputs = self._session.run(None, {self._input: np.ascontiguousarray(pictures)})
        count, _, height, width = pictures.shape
        levels = []
        for stride, places in zip(STRIDES, self._places, strict=True):
            mine = [outputs[place] for place in places]
            *scores, boxes, keypoints = (output.reshape(count, -1, output.shape[-1]) for output in mine)
            rows, columns = np.divmod(np.arange(height // stride * (width // stride)), width // stride)
            cells = np.stack([columns, rows], axis=1).astype(np.float32)
            anchors = boxes.shape[1] // len(cells)
            levels.append(
                Level(stride, cells.repeat(anchors, axis=0), [score[..., 0] for score in scores], boxes, keypoints)
            )
        return levels

    def _probe(self, count: int) -> list[Floats]:
        """The outputs for blank pictures."""
        height, width = self.size or (_PROBE, _PROBE)
        try:
            return list(self._session.run(None, {self._input: np.zeros((count, 3, height, width), np.float32)}))
        except Exception as error:  # onnxruntime's own errors share no public base class
            if count > 1:
                return [np.zeros(0, np.float32)]
            raise self._foreign(f"cannot be run on a blank picture ({error})") from error

    def _find_places(self, outputs: Sequence[Floats]) -> list[list[int]]:
        """For each stride the outputs' numbers: scores, boxes, keypoints."""
        shapes = [output.shape for output in outputs]
        by_columns = {
            columns: [place for place, shape in enumerate(shapes) if shape and shape[-1] == columns]
            for columns in (_SCORE, _BOX, _KEYPOINTS)
        }
        counts = [len(places) for places in by_columns.values()]
        levels = len(STRIDES)
        if counts == [self._scores * levels, levels, 0] and sum(counts) == len(shapes):
            raise self._foreign("gives boxes without keypoints, and faces are aligned by their keypoints")
        if counts != [self._scores * levels, levels, levels] or sum(counts) != len(shapes):
            raise self._foreign(f"gives {', '.join(map(str, shapes))}")
        height, width = self.size or (_PROBE, _PROBE)
        found: list[list[int]] = []
        anchors: set[float] = set()
        for stride in STRIDES:
            cells = height // stride * (width // stride)
            # The n-th largest of each kind belongs to the n-th stride.
            places = [place for group in by_columns.values() for place in _nth(group, shapes, len(found), levels)]
            rows = {int(np.prod(shapes[place][:-1])) for place in places}
            anchors.update(row / cells for row in rows)
            found.append(places)
        if len(anchors) != 1 or not anchors.pop().is_integer():
            raise self._foreign(f"gives {', '.join(map(str, shapes))} for a picture of {height} x {width}")
        return found

    def _foreign(self, problem: str) -> ModelFileError:
        return ModelFileError(
            f"the network is no {self._detector}: it {problem}", place=self._file, next_step=f"Wanted is {self._wanted}"
        )


def _nth(places: list[int], shapes: Sequence[tuple[int, ...]], level: int, levels: int) -> list[int]:
    """Those of the outputs of one kind that belong to a level, in the file's order; the finest has most rows."""
    order = sorted(places, key=lambda place: -int(np.prod(shapes[place][:-1])))
    each = len(places) // levels
    return sorted(order[level * each : (level + 1) * each])
