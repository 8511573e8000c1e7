"""Runs begun as users begin them: by torchrun, and as SLURM's srun does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.data.folder import FolderDataset
from facedistill.data.synthetic import SyntheticFaces, write_folder
from facedistill.embedders.load import load_embedder
from facedistill.evaluation.make_pairs import make_pairs_of, write_pairs
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.evaluation.verification import evaluate_verification
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.training import saved

from .launchers import COMMAND, SMALL, TORCHRUN, environment
from .shared_batches import DATA

# Of a step with a task on each of two nodes.
STEP = {
    "SLURM_JOB_ID": str(os.getpid()),
    "SLURM_JOB_NAME": "train.sh",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "2",
    "SLURM_NNODES": "2",
    "SLURM_TASKS_PER_NODE": "1(x2)",
    "SLURM_NODELIST": "localhost",
}


def test_torchrun_distils(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("tinyfacenet", embedding_size=16, width=0.5, input_size=32).eval()
    spec = BackboneSpec("tinyfacenet", 16, 0.5)
    save_checkpoint(tmp_path / "teacher.safetensors", Checkpoint(backbone, spec, Preprocessing(size=32)))
    pairs, images, run = tmp_path / "pairs.csv", tmp_path / "judged", tmp_path / "run"
    write_folder(SyntheticFaces(12, 5, size=32, seed=5), images)
    dataset = FolderDataset(images)
    write_pairs(pairs, make_pairs_of(dataset, pairs=10, folds=3), dataset)
    done = subprocess.run(
        [
            *(*TORCHRUN, *COMMAND, "distill", DATA, "--teacher", str(tmp_path / "teacher.safetensors")),
            *("--student", "tinyfacenet", "--batch-size", "16", "--images-per-identity", "2", "--epochs", "3"),
            *("--pairs", str(pairs), "--images", str(images), "--out", str(run), *SMALL),
            *("--json", str(tmp_path / "result.json")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("32 images of 8 people") == 1
    assert done.stdout.count("epoch 1/3") == 1
    assert done.stdout.count("last record") == 1
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    names = {"best.safetensors", "card.md", "config.yaml", "curves.png", "last", "metrics.csv", "metrics.jsonl"}
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} == names
    assert {path.name for path in (run / "last").iterdir()} == {"backbone.safetensors", "saved.json", "state.pt"}
    assert saved.find_fault(run / "last") is None
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert json.loads((tmp_path / "result.json").read_text())["records"] == records
    judged = evaluate_verification(load_embedder(run, device="cpu"), load_pair_list(pairs, images))
    assert judged.accuracy == records[-1]["accuracy"]


def test_the_end_of_one_task_ends_the_others(corrupt: Path, tmp_path: Path) -> None:
    """As srun starts them, with nobody who would end the others; whoever meets the corrupt image may not go on."""
    run = tmp_path / "run"
    processes = []
    for number in range(2):
        variables = {"SLURM_PROCID": str(number), "SLURM_LOCALID": "0", "SLURM_NODEID": str(number)} | STEP
        command = [sys.executable, *COMMAND, "train-teacher", str(corrupt), "--out", str(run), *SMALL]
        command += ["--model", "tinyfacenet", "--batch-size", "16", "--epochs", "2", "--max-corrupt", "0"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, **pipes, env=environment(**variables)))
    told = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [1, 1], told
    errors = [err for _, err in told]
    assert sum("1 image is corrupt, and --max-corrupt 0 allows 0 of 48" in error for error in errors) == 1
    assert "48 images of 8 people" in told[0][0]
    assert told[1][0] == ""
