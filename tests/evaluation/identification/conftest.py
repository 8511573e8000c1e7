from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ...made_ijb import make_ijb


@pytest.fixture
def ijb(tmp_path: Path) -> Path:
    return make_ijb(tmp_path / "IJBC")


@pytest.fixture
def make_ijb_folder() -> Callable[..., Path]:
    return make_ijb
