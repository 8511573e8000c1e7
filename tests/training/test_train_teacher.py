from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from facedistill.checkpoint import load_checkpoint
from facedistill.data.exclusions import read_exclusions
from facedistill.data.folder import FolderDataset
from facedistill.data.images import read_image
from facedistill.data.open_dataset import open_dataset
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import DataError, ModelFileError, TrainingError, UsageError
from facedistill.training.engine import Engine
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import train_teacher

from .conftest import same_weights, teacher_options, weights, without_final_look


def test_the_same_seed_gives_the_same_weights(dataset: FolderDataset, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        train_teacher(dataset, RunFolder(tmp_path / name), teacher_options(seed=seed))
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


def test_workers_do_not_change_the_weights(dataset: FolderDataset, tmp_path: Path) -> None:
    for name, workers in (("a", None), ("b", 0), ("c", 2)):
        options = teacher_options(workers=workers, augment_crop=0.5, augment_low_resolution=0.5)
        train_teacher(dataset, RunFolder(tmp_path / name), options)
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert same_weights(tmp_path / "a", tmp_path / "c")


def test_it_learns(dataset: FolderDataset, tmp_path: Path) -> None:
    records = train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(epochs=25, lr=0.1))
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    assert records[-1]["train_accuracy"] > 0.8


def test_the_run_folder_holds_what_reproduces_and_reports(dataset: FolderDataset, tmp_path: Path) -> None:
    options = teacher_options(seed=9)
    records = train_teacher(dataset, RunFolder(tmp_path / "run"), options)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    run = config.pop("run")
    assert config == {name: value for name, value in options.model_dump(mode="json").items() if value is not None}
    assert run["data"] == {"images": 48, "identities": 8, "fingerprint": dataset.fingerprint}
    assert (run["command"], run["processes"]) == ("train-teacher", 1)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == records
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        assert [float(row["loss"]) for row in csv.DictReader(stream)] == [record["loss"] for record in records]
    checkpoint = load_checkpoint(tmp_path / "run" / "last" / "backbone.safetensors")
    assert checkpoint.provenance["epoch"] == 2
    assert checkpoint.provenance["step"] == 6
    assert checkpoint.provenance["seed"] == 9
    assert not (tmp_path / "run" / "best.safetensors").exists()
    assert read_image(tmp_path / "run" / "curves.png").std() > 5


def test_the_best_epoch_is_kept_beside_the_last(dataset: FolderDataset, tmp_path: Path) -> None:
    accuracies = iter([0.7, 0.9, 0.8])

    def follow(embedder: TorchEmbedder) -> dict[str, float]:
        return {"accuracy": next(accuracies)}

    train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(epochs=3), listeners=Listeners(follow=follow))
    assert load_checkpoint(tmp_path / "run" / "best.safetensors").provenance["epoch"] == 2
    assert load_checkpoint(tmp_path / "run" / "last" / "backbone.safetensors").provenance["epoch"] == 3


def test_a_loss_that_is_not_finite_stops_with_step_and_rate(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine._forward
    calls = 0

    def poisoned(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        output, embeddings = real(*arguments)
        return output._replace(loss=output.loss * float("nan")) if calls == 5 else output, embeddings

    monkeypatch.setattr(Engine, "_forward", poisoned)
    with pytest.raises(TrainingError) as error:
        train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(epochs=4, lr=0.1, save_every=2))
    message = str(error.value)
    assert "the loss is no longer finite since step 5 (learning rate 0.075)" in message
    assert f"last good weights are in {tmp_path / 'run' / 'last' / 'backbone.safetensors'}" in message
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run").values())
    assert load_checkpoint(tmp_path / "run" / "last" / "backbone.safetensors").provenance["step"] == 4


def test_a_gradient_that_is_not_finite_stops_too(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine._forward

    def poisoned(engine: Engine, *arguments: Any) -> Any:
        output, embeddings = real(engine, *arguments)
        if engine.state.progress.step == 3:  # the loss is finite, its slope is not: the slope of sqrt at 0
            output = output._replace(loss=output.loss + (embeddings.sum() * 0).sqrt())
        return output, embeddings

    monkeypatch.setattr(Engine, "_forward", poisoned)
    with pytest.raises(TrainingError, match=r"the gradient is no longer finite since step 4 \(learning rate"):
        train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(epochs=4))


def test_corrupt_images_are_replaced_and_listed_or_stop(faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces, tmp_path / "faces")
    dataset = FolderDataset(tmp_path / "faces")
    dataset.path(7).write_bytes(b"no image")
    notes: list[str] = []
    records = train_teacher(
        dataset,
        RunFolder(tmp_path / "run"),
        teacher_options(epochs=2, batch_size=48, workers=1),  # a process of its own finds and replaces it
        listeners=Listeners(note=notes.append),
    )
    listed = tmp_path / "run" / "corrupt.csv"
    assert without_final_look(notes) == [f"1 corrupt image was replaced by others: {dataset.key(7)}; see {listed}"]
    assert listed.read_text().splitlines()[1].startswith(f'image,{dataset.key(7)},"the image is corrupt')
    assert records[-1]["loss"] > 0
    assert len(open_dataset(tmp_path / "faces", exclusions=read_exclusions(listed))) == 47
    with pytest.raises(DataError, match=r"1 image is corrupt, and --max-corrupt 0 allows 0 of 48") as caught:
        train_teacher(dataset, RunFolder(tmp_path / "none"), teacher_options(batch_size=48, max_corrupt=0))
    assert dataset.key(7) in str(caught.value)
    dataset.path(3).write_bytes(b"")
    with pytest.raises(DataError, match=r"2 images are corrupt, and --max-corrupt 0\.01 allows 1 of 48"):
        train_teacher(dataset, RunFolder(tmp_path / "many"), teacher_options(batch_size=48))


def test_init_starts_from_another_run(dataset: FolderDataset, tmp_path: Path) -> None:
    train_teacher(dataset, RunFolder(tmp_path / "a"), teacher_options())
    # A rate this small leaves the weights where they were.
    train_teacher(dataset, RunFolder(tmp_path / "b"), teacher_options(lr=1e-12), init=tmp_path / "a")
    first, second = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert torch.allclose(first["embed.weight"], second["embed.weight"], atol=1e-6)
    with pytest.raises(UsageError, match=r"the width is 0\.5 in the initial checkpoint and 0\.25 was asked for"):
        train_teacher(dataset, RunFolder(tmp_path / "c"), teacher_options(width=0.25), init=tmp_path / "a")
    with pytest.raises(ModelFileError, match="no such model"):
        train_teacher(dataset, RunFolder(tmp_path / "d"), teacher_options(), init=tmp_path / "none")


def test_a_run_is_resumed_only_as_it_was_started(dataset: FolderDataset, faces: Path, tmp_path: Path) -> None:
    train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options())
    again = RunFolder(tmp_path / "run", resume="yes")
    with pytest.raises(UsageError, match=r"started with --lr 0\.1 and is resumed with 0\.2"):
        train_teacher(dataset, again, teacher_options(lr=0.2))
    two = open_dataset(faces, identities={"person_000000", "person_000001"})
    with pytest.raises(UsageError, match=r"started with data 48 images \(.*\) and is resumed with 12 images"):
        train_teacher(two, again, teacher_options())


def test_labels_out_of_range_are_named(dataset: FolderDataset, tmp_path: Path) -> None:
    dataset.labels = np.where(np.arange(48) == 11, 8, dataset.labels)
    with pytest.raises(DataError, match=rf"image '{dataset.key(11)}' has label 8, and the labels go from 0 to 7"):
        train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options())


def test_labels_that_are_no_integers_are_refused(dataset: FolderDataset, tmp_path: Path) -> None:
    dataset.labels = dataset.labels.astype(np.float32)  # type: ignore[assignment]
    with pytest.raises(DataError, match="the labels are float32"):
        train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options())


def test_one_identity_cannot_be_told_apart(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 1 identity"):
        train_teacher(open_dataset(faces, identities={"person_000000"}), RunFolder(tmp_path / "run"), teacher_options())


def test_crops_of_another_size_are_mentioned(dataset: FolderDataset, tmp_path: Path) -> None:
    notes: list[str] = []
    train_teacher(
        dataset,
        RunFolder(tmp_path / "run"),
        teacher_options(epochs=1, input_size=32),
        listeners=Listeners(note=notes.append),
    )
    assert "the crops are 64 x 64 and are resized to 32 x 32" in notes[0]


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["32", "bf16", "16"])
def test_training_on_cuda(precision: str, dataset: FolderDataset, tmp_path: Path) -> None:
    options = teacher_options(device="cuda", precision=precision, epochs=10)
    records = train_teacher(dataset, RunFolder(tmp_path / "run"), options)
    assert records[-1]["loss"] < records[0]["loss"]
