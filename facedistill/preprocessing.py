"""What a face model expects of its input: size, colour order, mean, standard deviation and layout."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch

from facedistill.errors import ModelFileError, PreprocessingMismatchError, UsageError

Color = Literal["rgb", "bgr"]
Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class Preprocessing:
    """How a uint8 RGB crop becomes a model's input: `(x - mean) / std`, in `color` order and `layout`.

    It travels inside every checkpoint, cache and ONNX file. The defaults are those of the ArcFace family:
    112 x 112 RGB crops mapped to [-1, 1].

    Args:
        size: height and width of the input in pixels.
        color: channel order that the model was trained on.
        mean: subtracted from every channel, on the 0..255 scale; finite.
        std: divides every channel, on the 0..255 scale; above 0 and finite.
        layout: order of the axes of the model's input.

    Raises:
        UsageError: a value is out of its range.
    """

    size: int = 112
    color: Color = "rgb"
    mean: float = 127.5
    std: float = 127.5
    layout: Layout = "nchw"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"the input size is {self.size}, it must be 1 or more")
        if not math.isfinite(self.mean):
            raise UsageError(
                f"mean is {self.mean}, it must be a finite number", next_step="Usual values are 127.5 and 0"
            )
        # In single precision, in which it divides, what is smaller or larger is 0 or infinite.
        if not float(np.finfo(np.float32).tiny) <= self.std <= float(np.finfo(np.float32).max):
            raise UsageError(
                f"std is {self.std}, it must be above 0 and finite", next_step="Usual values are 127.5 and 128"
            )
        if self.color not in ("rgb", "bgr"):
            raise UsageError(f"the colour order is '{self.color}'", next_step="Use rgb or bgr")
        if self.layout not in ("nchw", "nhwc"):
            raise UsageError(f"the layout is '{self.layout}'", next_step="Use nchw or nhwc")

    def resize(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize crops to the model's size: (N, H, W, 3) uint8 -> (N, size, size, 3) uint8, a no-op where equal.

        One resizer (area averaging when shrinking, bilinear when enlarging) serves every kind of model, so that a
        checkpoint and the ONNX file made of it see the same pixels.
        """
        if images.shape[1:3] == (self.size, self.size):
            return images
        interpolation = cv2.INTER_AREA if images.shape[1] > self.size else cv2.INTER_LINEAR
        resized = [cv2.resize(image, (self.size, self.size), interpolation=interpolation) for image in images]
        return np.stack(resized).astype(np.uint8, copy=False)

    def to_numpy(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 RGB (N, H, W, 3) -> float32 model input in this colour order and layout."""
        resized = self.resize(images)
        ordered = resized if self.color == "rgb" else resized[..., ::-1]
        scaled = (ordered.astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2) if self.layout == "nchw" else scaled)

    def to_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 RGB (N, size, size, 3) on any device -> float32 (N, 3, size, size) on it, channels last in memory.

        Raises:
            PreprocessingMismatchError: the crops are of another size; `resize` them first.
        """
        if images.shape[1:3] != (self.size, self.size):
            raise PreprocessingMismatchError(
                f"the model takes {self.size} x {self.size} pixels and the crops have "
                f"{images.shape[1]} x {images.shape[2]}"
            )
        ordered = images if self.color == "rgb" else images.flip(-1)
        return ((ordered.permute(0, 3, 1, 2).float() - self.mean) / self.std).contiguous(
            memory_format=torch.channels_last
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and file metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, place: object | None = None) -> Preprocessing:
        """The inverse of `to_dict`; `place` is the file named in the ModelFileError that bad values raise."""
        try:
            return cls(
                size=int(values["size"]),
                color=cast(Color, str(values["color"])),
                mean=float(values["mean"]),
                std=float(values["std"]),
                layout=cast(Layout, str(values["layout"])),
            )
        except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
            raise ModelFileError(f"its preprocessing cannot be read ({error})", place=place) from error

    def __str__(self) -> str:
        return f"{self.size}x{self.size} {self.color.upper()}, (x - {self.mean:g}) / {self.std:g}"
