"""`facedistill embed`: begun, interrupted, gone on with, shared and refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.embedders.cache import load_cache
from facedistill.errors import ModelFileError
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing

from ..training.launchers import COMMAND, TORCHRUN, environment
from .conftest import Call


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("teachers")
    torch.manual_seed(0)
    for name in ("one", "other"):
        backbone = build_backbone("tinyfacenet", embedding_size=16, width=0.5, input_size=32).eval()
        spec = BackboneSpec("tinyfacenet", 16, 0.5)
        save_checkpoint(folder / f"{name}.safetensors", Checkpoint(backbone, spec, Preprocessing(size=32)))
    return [folder / "one.safetensors", folder / "other.safetensors"]


def test_embed_and_embed_again(call: Call, teachers: list[Path], faces: Path, tmp_path: Path) -> None:
    out, result = tmp_path / "cache", tmp_path / "result.json"
    command = ["embed", faces, "--model", teachers[0], "-o", out, "--device", "cpu", "--json", result]
    outcome = call(*command)
    assert outcome.status == 0, outcome.err
    assert f"48 images, 16 dimensions, written to {out}" in outcome.out
    cache = load_cache(out)
    assert json.loads(result.read_text()) == {
        "cache": str(out),
        "images": 48,
        "corrupt": 0,
        "embedding_size": 16,
        "model_fingerprint": cache.model_fingerprint,
        "dataset_fingerprint": cache.dataset_fingerprint,
    }
    before = (out / "directions.npy").stat().st_mtime_ns
    outcome = call(*command)
    assert outcome.status == 0, outcome.err
    assert "was finished before, so nothing is embedded" in outcome.err
    assert (out / "directions.npy").stat().st_mtime_ns == before
    other = [teachers[1] if word == teachers[0] else word for word in command]
    outcome = call(*other)
    assert outcome.status == 2
    assert "there is a cache of another teacher" in outcome.err
    assert call(*other, "--overwrite").status == 0
    assert load_cache(out).model_fingerprint != cache.model_fingerprint


def test_an_interruption_says_what_is_kept(
    call: Call, teachers: list[Path], faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facedistill_cli import console

    command = ["embed", faces, "--model", teachers[0], "-o", tmp_path / "c", "--device", "cpu", "--batch-size", 8]
    with monkeypatch.context() as patch:

        def interrupt(self: object, done: int, total: int) -> None:
            if done >= 16:
                raise KeyboardInterrupt

        patch.setattr(console.PlainLines, "__call__", interrupt)
        outcome = call(*command)
    assert outcome.status == 130
    assert "what is embedded is kept. Run the same command again to go on" in outcome.err
    with pytest.raises(ModelFileError, match="the cache is not finished: 16 of 48 images are embedded"):
        load_cache(tmp_path / "c")
    outcome = call(*command)
    assert outcome.status == 0, outcome.err
    assert "16 of 48 images were done" in outcome.err


def test_a_folder_of_something_else(call: Call, teachers: list[Path], faces: Path, tmp_path: Path) -> None:
    outcome = call("embed", faces, "--model", teachers[0], "-o", faces.parent, "--device", "cpu", "--overwrite")
    assert outcome.status == 2
    assert "the folder holds something else than a cache" in outcome.err


@pytest.mark.parametrize("name", ["keys.json", "manifest.json"])
def test_files_that_only_have_the_names_of_a_caches(
    call: Call, teachers: list[Path], faces: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text('{"door": 4711}')
    for more in ((), ("--overwrite",)):
        outcome = call("embed", faces, "--model", teachers[0], "-o", tmp_path, "--device", "cpu", *more)
        assert outcome.status == 2
        assert f"something else than a cache, '{name}', so it is left alone. Use another name" in outcome.err
    assert (tmp_path / name).read_text() == '{"door": 4711}'


def test_torchrun_shares_the_images(call: Call, teachers: list[Path], faces: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    command = ["embed", str(faces), "--model", str(teachers[0]), "--device", "cpu", "--batch-size", "8"]
    assert call(*command, "-o", one).status == 0
    done = subprocess.run(
        [*TORCHRUN, *COMMAND, *command, "-o", str(two)], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("48 images, 16 dimensions, written to") == 1
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    caches = [load_cache(place) for place in (one, two)]
    # The batches are the same ones, so that nothing is rounded otherwise; but a product may use another kernel.
    assert np.allclose(caches[0].original, caches[1].original, rtol=2e-3, atol=1e-4)
    assert np.array_equal(caches[0].checksums, caches[1].checksums)
    assert caches[0].keys == caches[1].keys
