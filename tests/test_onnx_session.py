from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from facedistill import onnx_session
from facedistill.errors import ModelFileError, UsageError
from facedistill.onnx_session import has_cuda, open_session


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(ModelFileError, match=r"x\.onnx: the ONNX file cannot be loaded"):
        open_session(tmp_path / "x.onnx", device="cpu")


def test_cuda_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx_session, "has_cuda", lambda: False)
    with pytest.raises(ModelFileError, match=r"^onnxruntime has no CUDA here\. Install onnxruntime-gpu, or use"):
        open_session(tmp_path / "x.onnx", device="cuda")


def test_a_device_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the device is 'gpu'\. Use auto, cpu or cuda"):
        open_session(tmp_path / "x.onnx", device="gpu")


def test_no_driver_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert not has_cuda()


def test_aligning_without_a_gpu_never_loads_torch(tmp_path: Path) -> None:
    """Which takes seconds; a detector alone has no use for it."""
    code = (
        "import ctypes, sys\n"
        "def fail(name): raise OSError(name)\n"
        "from facedistill.align import pipeline\n"
        "from facedistill.align.detectors import DETECTORS\n"
        "ctypes.CDLL = fail\n"
        "DETECTORS['mtcnn']()\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
