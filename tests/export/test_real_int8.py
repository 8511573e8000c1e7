from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.data.identity_list import read_identities
from facedistill.data.open_dataset import open_dataset
from facedistill.embedders.load import load_embedder
from facedistill.export.crops import read_crops
from facedistill.export.export import export_model
from facedistill.export.options import ExportOptions
from facedistill.export.source import source_of_onnx

pytestmark = pytest.mark.realdata


def test_the_real_teacher_in_8_bits(realdata: Path, tmp_path: Path) -> None:
    lfw = realdata / "data" / "lfw"
    people = {name: read_identities(lfw / "protocol" / f"{name}.txt") for name in ("peopleDevTrain", "peopleDevTest")}
    train, test = (open_dataset(lfw / "aligned", identities=names) for names in people.values())
    crops = read_crops(train, "aligned", count=48)
    file = realdata / "models" / "mobilefacenet_192_nchw.onnx"
    result = export_model(
        source_of_onnx(file, color="rgb", mean=127.5, std=128.0),
        tmp_path / "i8.onnx",
        ExportOptions("int8"),
        crops=crops,
    )
    # Plain static quantisation of this file: a cosine of 0.94 and 0.35 of the size.
    assert result.file_bytes <= 0.35 * file.stat().st_size
    assert result.parity[1].mean_cosine >= 0.99
    strangers = np.stack([test.image(index) for index in range(0, len(test), len(test) // 40)])
    embedded = [
        load_embedder(tmp_path / "i8.onnx", device="cpu").embed(strangers),
        load_embedder(file, device="cpu", color="rgb", mean=127.5, std=128.0).embed(strangers),
    ]
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in embedded]
    assert (units[0] * units[1]).sum(axis=1).mean() >= 0.99
