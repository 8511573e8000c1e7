from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from facedistill.errors import ModelFileError
from facedistill.export.onnx_metadata import add_metadata
from facedistill.export.saved_thresholds import save_thresholds
from facedistill.files import file_sha256
from facedistill.model_hashes import known_hashes

from .made_onnx import write_onnx


@pytest.fixture
def network(tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        return write_onnx(tmp_path / "model.onnx")

    return make


@pytest.mark.parametrize("facts", [{}, {"facedistill.embedding_size": "4"}])
def test_a_model_is_known_by_what_it_was_before_thresholds_were_saved(
    network: Callable[[], Path], facts: dict[str, str]
) -> None:
    path = network()
    if facts:
        add_metadata(path, facts)
    before = file_sha256(path)
    assert known_hashes(path) == (before,)
    for cosine in (0.3, 0.4):  # saved twice, the second in the place of the first
        save_thresholds(path, [{"far": 1e-3, "cosine": cosine, "benchmark": "ours"}])
        assert known_hashes(path) == (file_sha256(path), before)
        assert file_sha256(path) != before


def test_other_metadata_make_another_file(network: Callable[[], Path]) -> None:
    path = network()
    before = file_sha256(path)
    add_metadata(path, {"facedistill.embedding_size": "4"})
    assert before not in known_hashes(path)


def test_a_checkpoint_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    assert known_hashes(path) == (file_sha256(path),)


def test_no_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(ModelFileError, match="no ONNX file"):
        known_hashes(path)
