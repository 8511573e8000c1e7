"""An ONNX file as an embedder, whoever made it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.errors import ModelFileError
from facedistill.files import file_sha256
from facedistill.onnx_session import open_session
from facedistill.preprocessing import Layout, Preprocessing

# The key under which an exported file carries its preprocessing, as JSON.
PREPROCESSING_KEY = "facedistill.preprocessing"

# Element types of an input that takes images.
IMAGE_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class OnnxEmbedder:
    """A face-embedding network run by onnxruntime, on CUDA where the installed build and the machine have it.

    The file needs one image input of shape (N, 3, S, S) or (N, S, S, 3) and gives (N, D) as its first output. The
    colour order, mean and standard deviation come from its metadata; a foreign file carries none, so they come from
    the arguments, and what had to be assumed is told to `note`. One that takes uint8 pixels does to them itself what
    its metadata says.

    Args:
        path: the ONNX file.
        device: "cpu", "cuda", or "auto" for CUDA where it works.
        color: overrides or supplies the colour order.
        mean: overrides or supplies the mean, 0..255 scale.
        std: overrides or supplies the standard deviation, 0..255 scale.
        note: receives one line about whatever was assumed or overridden.
        threads: CPU threads, 0 for as many as suit the processors that may be used.

    Attributes:
        color_assumed: whether neither the file nor the arguments told the colour order.

    Raises:
        ModelFileError: the file is missing or damaged, or is not an embedding network.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "auto",
        color: str | None = None,
        mean: float | None = None,
        std: float | None = None,
        note: Callable[[str], None] | None = None,
        threads: int = 0,
    ) -> None:
        if not path.is_file():
            raise ModelFileError("there is no such ONNX file", place=path)
        self.name = str(path)
        self.fingerprint = file_sha256(path)
        self.color_assumed = False
        self._session = open_session(path, device=device, threads=threads)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ModelFileError(
                f"the network takes {', '.join(f'{i.name} {i.shape}' for i in inputs)}, not one batch of images",
                place=path,
            )
        self._input = inputs[0]
        if self._input.type not in IMAGE_TYPES:
            raise ModelFileError(f"the network's input is {self._input.type}, not float or pixels", place=path)
        self._dtype = IMAGE_TYPES[self._input.type]
        layout, size = read_layout(self._input.shape, path)
        # A file exported with a fixed batch size is run in pieces of that size.
        self._fixed_batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else None
        self.preprocessing = self._describe_input(path, layout, size, color, mean, std, note)
        probe = self.embed(np.zeros((1, size, size, 3), dtype=np.uint8))
        self.embedding_size = int(probe.shape[1])

    def _describe_input(
        self,
        path: Path,
        layout: Layout,
        size: int,
        color: str | None,
        mean: float | None,
        std: float | None,
        note: Callable[[str], None] | None,
    ) -> Preprocessing:
        given = {name: value for name, value in (("color", color), ("mean", mean), ("std", std)) if value is not None}
        metadata = self._session.get_modelmeta().custom_metadata_map
        if PREPROCESSING_KEY not in metadata and self._dtype == np.uint8:
            raise ModelFileError(
                f"the network takes pixels, and no metadata ({PREPROCESSING_KEY}) says what it does with them",
                place=path,
                next_step="Export it with facedistill export --input uint8-rgb, from a file with a float input",
            )
        if PREPROCESSING_KEY not in metadata:
            assumed = replace(Preprocessing(size=size, layout=layout), **given)  # type: ignore[arg-type]
            self.color_assumed = "color" not in given
            missing = [name for name in ("color", "mean", "std") if name not in given]
            if missing and note:
                note(
                    f"{path} carries no preprocessing metadata: assuming {assumed} ({', '.join(missing)} not given); "
                    "a wrong guess lowers the accuracy without an error"
                )
            return assumed
        try:
            values = json.loads(metadata[PREPROCESSING_KEY])
        except json.JSONDecodeError as error:
            raise ModelFileError(f"its preprocessing metadata is not JSON ({error})", place=path) from error
        stated = Preprocessing.from_dict(values, place=path)
        if self._dtype == np.uint8 and given:
            raise ModelFileError(
                "it takes pixels, and does what its metadata says inside",
                place=path,
                next_step="Leave --color, --mean and --std out",
            )
        if (stated.layout, stated.size) != (layout, size):
            raise ModelFileError(
                f"its metadata says {stated.layout} {stated.size} and its input is {layout} {size}", place=path
            )
        overridden = replace(stated, **given)  # type: ignore[arg-type]
        if overridden != stated and note:
            note(f"{path}: its metadata says {stated}; you asked for {overridden}, which is used")
        return overridden

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, H, W, 3) uint8 RGB -> (N, D) float32, not normalised."""
        batch: npt.NDArray[Any] = (
            self.preprocessing.resize(images) if self._dtype == np.uint8 else self.preprocessing.to_numpy(images)
        )
        if self._fixed_batch is None:
            return self._run(batch)
        pieces = []
        for start in range(0, len(batch), self._fixed_batch):
            piece = batch[start : start + self._fixed_batch]
            padding = np.zeros((self._fixed_batch - len(piece), *piece.shape[1:]), dtype=piece.dtype)
            pieces.append(self._run(np.concatenate([piece, padding]))[: len(piece)])
        return np.concatenate(pieces)

    def _run(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        try:
            output = self._session.run(None, {self._input.name: batch.astype(self._dtype, copy=False)})[0]
        except Exception as error:  # onnxruntime's own errors share no public base class
            raise ModelFileError(f"onnxruntime cannot run the network ({error})", place=self.name) from error
        if output.ndim != 2 or output.shape[0] != batch.shape[0]:
            raise ModelFileError(
                f"the network's first output has shape {output.shape} for {batch.shape[0]} images, not (N, D)",
                place=self.name,
            )
        return np.asarray(output, dtype=np.float32)


def read_layout(shape: list[int | str | None], path: Path) -> tuple[Layout, int]:
    """Layout and input size from an input's shape; ModelFileError where it shows neither."""
    if shape[1] == 3 and shape[3] != 3:
        layout: Layout = "nchw"
        sides = shape[2:4]
    elif shape[3] == 3 and shape[1] != 3:
        layout = "nhwc"
        sides = shape[1:3]
    else:
        raise ModelFileError(f"the input shape {shape} has no axis of 3 colours", place=path)
    height, width = sides
    if isinstance(height, int) and isinstance(width, int):
        if height != width:
            raise ModelFileError(f"the network takes {width} x {height} images, not square crops", place=path)
        return layout, height
    # A dynamic size is run at the size of the standard crop.
    return layout, 112
