from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.training.distill import DistillOptions
from facedistill.training.options import TrainingOptions, select_options
from facedistill.training.train_teacher import TeacherOptions

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


@pytest.mark.parametrize(("name", "kind"), [("distill", DistillOptions), ("train-teacher", TeacherOptions)])
def test_the_values_of_an_example_configuration_are_allowed(name: str, kind: type[TrainingOptions]) -> None:
    values = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    options = select_options(kind, values).model_dump(mode="json")
    assert {key: options[key] for key in values} == values
