from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from facedistill.checkpoint import load_checkpoint
from facedistill.data.folder import FolderDataset
from facedistill.embedders.load import load_embedder

from .conftest import Call
from .test_road import write_pairs

pytest.importorskip("torch_pruning")


def test_a_pruned_run_goes_everywhere_a_model_goes(
    call: Call, small: list[str], teacher_run: Path, faces: Path, tmp_path: Path
) -> None:
    run, parent = tmp_path / "pruned", teacher_run / "last" / "backbone.safetensors"
    outcome = call("prune", teacher_run, "--macs", 0.5, "-o", run, "--json", tmp_path / "p.json")
    assert outcome.status == 0, outcome.err
    assert "share left" in outcome.out
    assert "They have to be trained on" in outcome.out
    assert f"facedistill distill DATA --teacher T --init {run} --out RUN" in outcome.out
    result = json.loads((tmp_path / "p.json").read_text())
    macs = result["multiply_adds"]
    assert macs["after"] / macs["before"] == pytest.approx(0.5, abs=0.02)
    assert -1 <= result["cosine"]["least"] <= result["cosine"]["mean"] < 0.999
    assert result["channels"]["1"]["before"] == 96
    checkpoint = load_checkpoint(run / "last" / "backbone.safetensors")
    assert checkpoint.spec.pruned_from == load_checkpoint(parent).fingerprint
    assert checkpoint.provenance["run"]["command"] == "train-teacher"
    assert checkpoint.provenance["pruned"] == [{"from": checkpoint.spec.pruned_from, "macs": 0.5}]
    assert yaml.safe_load((run / "config.yaml").read_text())["macs"] == 0.5

    pairs = write_pairs(faces, tmp_path / "pairs.csv")
    assert call("eval", run, "--pairs", pairs, "--images", faces, "--device", "cpu").status == 0
    assert call("embed", faces, "--model", run, "-o", tmp_path / "cache").status == 0
    bench = call("bench", run, teacher_run, "--seconds", 0.01, "--threads", 1, "--batch", 1, "--no-memory")
    assert bench.status == 0, bench.err

    exported = call("export", run, "-o", tmp_path / "pruned.onnx")
    assert exported.status == 0, exported.err
    crops = np.stack([FolderDataset(faces).image(index) for index in range(5)])
    embeddings = [load_embedder(model, device="cpu").embed(crops) for model in (run, tmp_path / "pruned.onnx")]
    ours, theirs = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in embeddings)
    assert np.abs(ours - theirs).max() < 1e-5

    command = ("distill", faces, "--teacher", teacher_run, "--method", "cosine", "--init", run, *small)
    outcome = call(*command, "--out", tmp_path / "student", "--student", "tinyfacenet", "--width", 1)
    assert outcome.status == 0, outcome.err
    student = load_checkpoint(tmp_path / "student" / "last" / "backbone.safetensors")
    assert student.spec == checkpoint.spec
    again = call(*command, "--out", tmp_path / "student", "--resume", "yes", "--student", "tinyfacenet", "--width", 1)
    assert again.status == 0, again.err
    wider = call(*command, "--out", tmp_path / "wider", "--width", 2)
    assert wider.status == 2
    assert "the width is 1.0 in the initial checkpoint and 2.0 was asked for" in wider.err

    further = call("prune", tmp_path / "student", "--ratio", 0.2, "-o", tmp_path / "more.safetensors", "--quiet")
    assert (further.status, further.out) == (0, "")
    smaller = load_checkpoint(tmp_path / "more.safetensors")
    assert smaller.spec.pruned_from == student.fingerprint


def test_bad_calls(call: Call, teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "pruned"
    (tmp_path / "file").write_text("")
    (tmp_path / "model.onnx").write_bytes(b"")
    for arguments, status, message in (
        ((teacher_run, "-o", run), 2, "--macs and --ratio exclude one another, and one of them is needed"),
        ((teacher_run, "-o", run, "--macs", 0.5, "--ratio", 0.5), 2, "exclude one another"),
        ((teacher_run, "-o", run, "--macs", 1.5), 2, "between 0 and 1, and 1.5 was given"),
        ((teacher_run, "-o", run, "--macs", 0.01), 2, "0.01 of the multiply-adds cannot be reached"),
        ((tmp_path / "model.onnx", "-o", run, "--macs", 0.5), 2, "its weights cannot be taken from it"),
        ((tmp_path / "none", "-o", run, "--macs", 0.5), 1, "there is no such model"),
        ((teacher_run, "-o", teacher_run, "--macs", 0.5, "--overwrite"), 2, "would replace the model"),
        ((teacher_run, "-o", tmp_path / "file", "--macs", 0.5), 2, "there is a file already"),
        ((teacher_run, "-o", tmp_path / "file" / "run", "--macs", 0.5), 1, "the pruned network cannot be written"),
        ((teacher_run, "-o", tmp_path / "m.onnx", "--macs", 0.5), 2, "writes a run folder or a .safetensors"),
    ):
        before = sorted(tmp_path.iterdir())
        outcome = call("prune", *arguments)
        assert (outcome.status, message in outcome.err) == (status, True), outcome.err
        assert sorted(tmp_path.iterdir()) == before
    assert call("prune", teacher_run, "-o", run, "--macs", 0.5).status == 0
    again = call("prune", teacher_run, "-o", run, "--macs", 0.7)
    assert (again.status, "there is something already. Use --overwrite" in again.err) == (2, True)
    assert call("prune", teacher_run, "-o", run, "--macs", 0.7, "--overwrite").status == 0
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    missing = call("prune", teacher_run, "-o", tmp_path / "other", "--macs", 0.5)
    assert missing.status == 2
    assert "pip install 'facedistill[prune]'" in missing.err
