"""Fixtures shared by all tests, and the two markers that depend on what the machine has."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from facedistill.data.synthetic import SyntheticFaces, write_folder

REAL_DATA = Path(os.environ.get("FACEDISTILL_REALDATA", Path(__file__).resolve().parents[2] / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_data = pytest.mark.skip(reason=f"no real photos at {REAL_DATA}; set FACEDISTILL_REALDATA")
    no_cuda = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "realdata" in item.keywords and not (REAL_DATA / "data" / "lfw").is_dir():
            item.add_marker(no_data)
        if "cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(no_cuda)


@pytest.fixture(autouse=True)
def no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What --cache auto keeps, a test keeps among its own files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not marked `cuda` tests the CPU, also where there is a device: figures and bits are the CPU's."""
    if "cuda" not in request.keywords:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def realdata() -> Path:
    return REAL_DATA


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of 8 made-up people, 6 of each, 64 x 64; tests read it and never write to it."""
    folder = tmp_path_factory.mktemp("faces")
    write_folder(SyntheticFaces(8, 6, size=64, difficulty=0.3), folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The nets of the tests are so small that threads only get in one another's way."""
    torch.set_num_threads(1)


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
