"""Open an onnxruntime session on the CPU or on CUDA; every network that runs as ONNX is opened here."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import onnxruntime as ort

from facedistill.errors import ModelFileError, UsageError
from facedistill.processors import available_processors


def open_session(
    path: Path, *, device: str = "auto", threads: int = 0, model: bytes | None = None
) -> ort.InferenceSession:
    """An onnxruntime session, silent about the providers it lacks.

    Args:
        path: the ONNX file.
        device: "cpu", "cuda", or "auto" for CUDA where it works.
        threads: CPU threads within one run, 0 for as many as suit the processors that may be used.
        model: the serialised network, where it isn't just what `path` holds; `path` then only names it in errors.

    Raises:
        UsageError: `device` is another word.
        ModelFileError: the file cannot be loaded, or `device` is "cuda" and there is none.
    """
    check_device(device)
    options = ort.SessionOptions()
    if threads == 0 and available_processors() < (os.cpu_count() or 1):
        # Left to itself, onnxruntime would take threads for the whole machine, which then wait for one another.
        threads = available_processors()
    options.intra_op_num_threads = threads
    # Only fatal messages: without a GPU the GPU build prints pages about libraries it does not need.
    options.log_severity_level = 4
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if device != "cpu" and has_cuda():
        # By default every new shape of input is timed with every algorithm first: batches of photos have many shapes,
        # and the winner, so the last bits of a result too, would differ from run to run.
        providers.insert(0, ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}))
        options.use_deterministic_compute = True
    elif device == "cuda":
        raise ModelFileError("onnxruntime has no CUDA here", next_step="Install onnxruntime-gpu, or use --device cpu")
    try:
        return ort.InferenceSession(str(path) if model is None else model, options, providers=providers)
    except Exception as error:  # onnxruntime's own errors share no public base class
        raise ModelFileError(f"the ONNX file cannot be loaded ({error})", place=path) from error


def check_device(device: str) -> None:
    """UsageError for a device other than auto, cpu and cuda."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"the device is '{device}'", next_step="Use auto, cpu or cuda")


def session_device(session: ort.InferenceSession) -> str:
    """Where a session runs: "cuda" or "cpu"."""
    return "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"


def has_cuda() -> bool:
    """Whether onnxruntime was built for CUDA and there is a device."""
    # torch takes seconds to import, so it is asked only where there is a driver.
    if "CUDAExecutionProvider" not in ort.get_available_providers() or not _has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def _has_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
