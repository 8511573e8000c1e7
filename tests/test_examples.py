from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_compare_two_faces(faces: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("tinyfacenet", embedding_size=8, width=0.5, input_size=64)
    for _ in range(30):
        backbone(torch.randn(8, 3, 64, 64))
    checkpoint = Checkpoint(backbone.eval(), BackboneSpec("tinyfacenet", 8, 0.5), Preprocessing(size=64))
    save_checkpoint(tmp_path / "m.safetensors", checkpoint)
    crop = faces / "person_000000" / "0000.png"
    command = [sys.executable, EXAMPLES / "compare_two_faces.py", tmp_path / "m.safetensors", crop, crop, "1.2"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("squared L2 distance 0.000, cosine 1.000: the same person")
