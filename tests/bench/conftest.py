from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..made_onnx import write_onnx


@pytest.fixture(scope="session")
def make_onnx() -> Callable[..., Path]:
    """Writes an ONNX file of one convolution; settings are those of `onnx.save`."""
    return write_onnx
