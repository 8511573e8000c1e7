"""timm and torchvision for tests, also where torchvision was built for another build of torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def torchvision_operators() -> Any:
    """Lets torchvision be imported beside a torch without CUDA: its operators are declared, and are never called.

    The index has one build of torchvision, and that one's operators want CUDA's libraries.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchvision is not installed")
    try:
        torch.ops.load_library(Path(spec.submodule_search_locations[0]) / "_C.so")
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


@pytest.fixture(scope="session")
def torchvision_models(torchvision_operators: Any) -> ModuleType:
    return pytest.importorskip("torchvision.models")


@pytest.fixture(scope="session")
def timm(torchvision_operators: Any) -> ModuleType:
    return pytest.importorskip("timm")
