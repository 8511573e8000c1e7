"""Run a network on noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from facedistill.embedders.onnx_embedder import IMAGE_TYPES, read_layout
from facedistill.errors import ModelFileError
from facedistill.onnx_session import open_session

IN_MEMORY = Path("the network")
"""Names, in errors, a network that is in no file yet."""


def open_network(model: onnx.ModelProto) -> ort.InferenceSession:
    """An onnxruntime session on the CPU; ModelFileError where it cannot be opened."""
    return open_session(IN_MEMORY, device="cpu", model=model.SerializeToString())


def make_noise(session: ort.InferenceSession, batch: int, *, place: Path = IN_MEMORY) -> npt.NDArray[Any]:
    """A batch of noise of the shape and type that a network takes; the same for every network of that shape.

    Raises:
        ModelFileError: the network takes something else than one batch of images.
    """
    taken = session.get_inputs()
    if len(taken) != 1 or len(taken[0].shape) != 4:
        raise ModelFileError(
            f"the network takes {', '.join(f'{each.name} {each.shape}' for each in taken)}, not one batch of images",
            place=place,
        )
    if taken[0].type not in IMAGE_TYPES:
        raise ModelFileError(f"the network's input is {taken[0].type}, not an image", place=place)
    layout, size = read_layout(taken[0].shape, place)
    shape = (batch, 3, size, size) if layout == "nchw" else (batch, size, size, 3)
    generator = np.random.default_rng(0)
    if taken[0].type == "tensor(uint8)":
        return generator.integers(0, 256, shape, dtype=np.uint8)
    return generator.standard_normal(shape, dtype=np.float32).astype(IMAGE_TYPES[taken[0].type])


def embed(session: ort.InferenceSession, images: npt.NDArray[Any], *, place: Path = IN_MEMORY) -> npt.NDArray[Any]:
    """The first output for a batch, (N, D).

    Raises:
        ModelFileError: the network cannot be run, or its first output has another shape.
    """
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    try:
        embeddings = np.asarray(session.run([output], {name: images})[0])
    except Exception as error:  # onnxruntime's own errors share no public base class
        raise ModelFileError(f"onnxruntime cannot run the network ({error})", place=place) from error
    if embeddings.ndim != 2 or len(embeddings) != len(images) or embeddings.shape[1] < 2:
        raise ModelFileError(
            f"the network's first output has shape {embeddings.shape} for {len(images)} images, not (N, D)",
            place=place,
        )
    return embeddings


def largest_difference(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """The largest absolute difference between the unit embeddings of two (N, D) arrays; NaN where one holds NaN."""
    return float(np.abs(unit_rows(first) - unit_rows(second)).max())


def unit_rows(embeddings: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(N, D) rows scaled to length 1; rows of zeros stay."""
    wide = embeddings.astype(np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))
