"""Export a checkpoint to ONNX, and refuse the file unless it agrees with the checkpoint."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

import facedistill
from facedistill.checkpoint import Checkpoint
from facedistill.embedders.onnx_embedder import PREPROCESSING_KEY
from facedistill.errors import GateError, ModelFileError
from facedistill.files import file_sha256
from facedistill.models.complexity import count_parameters
from facedistill.onnx_session import open_session

# Batch sizes at which the file is checked: 2 is the example that the exporter sees, 1 and 5 are not.
CHECKED_BATCHES = (1, 2, 5)
PARITY_LIMIT = 1e-4
INPUT_NAME = "input"
OUTPUT_NAME = "embedding"
OPSET = 18


@dataclass(frozen=True)
class ExportResult:
    """An exported file and how closely it follows the checkpoint.

    Attributes:
        path: the ONNX file.
        file_bytes: its size.
        sha256: of the file, as hex.
        parameters: of the backbone.
        embedding_size: D.
        preprocessing: stated in the file's metadata.
        opset: ONNX operator set.
        parity: batch size -> largest absolute difference between the normalised embeddings of torch and onnxruntime.
    """

    path: Path
    file_bytes: int
    sha256: str
    parameters: int
    embedding_size: int
    preprocessing: str
    opset: int
    parity: dict[int, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "file": str(self.path),
            "bytes": self.file_bytes,
            "sha256": self.sha256,
            "parameters": self.parameters,
            "embedding_size": self.embedding_size,
            "preprocessing": self.preprocessing,
            "opset": self.opset,
            "parity": {str(batch): difference for batch, difference in self.parity.items()},
            "parity_limit": PARITY_LIMIT,
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Column names and rows to print."""
        differences = ", ".join(f"{value:.1e} at batch {batch}" for batch, value in self.parity.items())
        return ("property", "value"), [
            ("file", str(self.path)),
            ("size", f"{self.file_bytes / 1e6:.2f} MB"),
            ("parameters", f"{self.parameters / 1e6:.3f} M"),
            ("input", f"{INPUT_NAME}, float32, {self.preprocessing}"),
            ("output", f"{OUTPUT_NAME}, float32, {self.embedding_size} dimensions, not normalised"),
            ("opset", str(self.opset)),
            ("largest difference to torch", differences),
        ]


def export_onnx(checkpoint: Checkpoint, path: Path) -> ExportResult:
    """Write `checkpoint` as an ONNX file with a dynamic batch, described by its own metadata.

    The file appears at `path` only if onnxruntime's normalised embeddings are within `PARITY_LIMIT` of torch's at
    every batch size of `CHECKED_BATCHES`; the preprocessing, the embedding size and the provenance stand in its
    metadata.

    Args:
        checkpoint: a backbone in eval mode, on the CPU.
        path: the file to write, ending in `.onnx`.

    Raises:
        ModelFileError: the backbone is in training mode (its batch norms would then be exported as such), or the
            exporter fails.
        GateError: torch and onnxruntime disagree.
    """
    if checkpoint.backbone.training:
        raise ModelFileError("the model is in training mode and cannot be exported", next_step="Call .eval() first")
    size = checkpoint.preprocessing.size
    model = trace(checkpoint.backbone, torch.zeros(2, 3, size, size))
    describe(model, checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        onnx.save(model, partial)
        parity = measure_parity(checkpoint, partial)
        worst = max(parity.values())
        # Written so that a NaN fails too.
        if not worst <= PARITY_LIMIT:
            raise GateError(
                f"torch and onnxruntime disagree by {worst:.2e} on normalised embeddings (limit {PARITY_LIMIT:.0e})",
                place=path,
                next_step="The file was not written",
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return ExportResult(
        path=path,
        file_bytes=path.stat().st_size,
        sha256=file_sha256(path),
        parameters=count_parameters(checkpoint.backbone),
        embedding_size=checkpoint.spec.embedding_size,
        preprocessing=str(checkpoint.preprocessing),
        opset=OPSET,
        parity=parity,
    )


def trace(backbone: torch.nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    """The backbone as an ONNX graph whose first axis is the batch; ModelFileError where the exporter fails."""
    chatter = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(chatter), quiet_exporter():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                backbone,
                (example,),
                dynamo=True,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter wraps whatever goes wrong in kinds of its own
        raise ModelFileError(f"the model cannot be exported to ONNX ({error})") from error
    if program is None:
        raise ModelFileError("the exporter returned nothing")
    model: onnx.ModelProto = program.model_proto
    return model


@contextlib.contextmanager
def quiet_exporter() -> Any:
    """Silence the exporter's log, which speaks of its own passes."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def describe(model: onnx.ModelProto, checkpoint: Checkpoint) -> None:
    """Write what a user of the file has to know into its metadata."""
    model.producer_name = "facedistill"
    model.producer_version = facedistill.__version__
    facts = {
        PREPROCESSING_KEY: json.dumps(checkpoint.preprocessing.to_dict()),
        "facedistill.backbone": json.dumps(asdict(checkpoint.spec)),
        "facedistill.embedding_size": str(checkpoint.spec.embedding_size),
        "facedistill.provenance": json.dumps(checkpoint.provenance),
    }
    onnx.helper.set_model_props(model, facts)


def measure_parity(checkpoint: Checkpoint, path: Path, batches: Sequence[int] = CHECKED_BATCHES) -> dict[int, float]:
    """For each batch size, the largest absolute difference of normalised embeddings between torch and onnxruntime.

    The input is random crops, since a constant one would hide a mixed-up axis.
    """
    session = open_session(path, device="cpu")
    generator = np.random.default_rng(0)
    size = checkpoint.preprocessing.size
    differences = {}
    for batch in batches:
        crops = generator.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        images = checkpoint.preprocessing.to_numpy(crops)
        with torch.inference_mode():
            expected = checkpoint.backbone(torch.from_numpy(images)).numpy()
        try:
            actual = session.run(None, {INPUT_NAME: images})[0]
        except Exception as error:  # onnxruntime's own errors share no public base class
            raise GateError(f"onnxruntime cannot run the export at batch {batch} ({error})", place=path) from error
        if actual.shape != expected.shape:
            raise GateError(
                f"at batch {batch} onnxruntime gives shape {actual.shape} and torch {expected.shape}", place=path
            )
        differences[batch] = float(np.abs(normalised(actual) - normalised(expected)).max())
    return differences


def normalised(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows scaled to length 1."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, np.float32(1e-12)), dtype=np.float32)
