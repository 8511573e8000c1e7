from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from facedistill.errors import GateError
from facedistill.export import export

from ..models.published.published_networks import TFaceMobileFaceNet, randomised
from .conftest import Call


def test_published_weights_can_be_exported(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the exporter; the export itself, which takes long, is tested with a smaller network."""
    weights, out = tmp_path / "backbone.pth", tmp_path / "model.onnx"
    torch.save(randomised(TFaceMobileFaceNet(32)).state_dict(), weights)
    outcome = call("export", weights, "-o", out)
    assert outcome.status == 2
    assert "Say rgb or bgr (--color;" in outcome.err
    exported: list[Any] = []

    def stop(source: Any, path: Path, *_: Any, **__: Any) -> None:
        exported.append(source)
        raise GateError("stopped here")

    monkeypatch.setattr(export, "export_model", stop)
    outcome = call("export", weights, "-o", out, "--color", "bgr", "--mean", "127")
    assert "stopped here" in outcome.err
    assert "assuming 112x112 BGR, (x - 127) / 127.5 (std not given)" in outcome.err
    assert '"mobilefacenet"' in exported[0].facts["facedistill.backbone"]
    assert exported[0].preprocessing.color == "bgr"
