from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facedistill.data.folder import FolderDataset
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import TrainingError
from facedistill.heads import make_head
from facedistill.training import loop
from facedistill.training.distill import distill
from facedistill.training.engine import Engine
from facedistill.training.guards import Chance, Guards, find_faults
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import train_teacher

from .conftest import distill_options, teacher_options, without_final_look

# ArcFace with its published scale and margin on MS1MV2's people: ln 85,000 + 64 sin 0.5 = 42.03.
MANY = Chance(make_head("arcface", 4, 85_000).loss_at_chance(), 1 / 85_000)


def record(**changes: Any) -> dict[str, Any]:
    """Of a healthy run with a head and triplets at once."""
    healthy = {
        "step": 1500,
        "epoch": 2,
        "lr": 0.05,
        "loss": 21.0,
        "train_accuracy": 0.11,
        "mean_similarity": 0.01,
        "triplets": 9000.0,
        "negative_distance": 1.1,
        "waiting_for_images": 0.02,
    }
    return healthy | changes


def faults(images: int = 64_000, *, chance: Chance | None = MANY, patience: int = 1000, **changes: Any) -> list[str]:
    return list(find_faults(record(**changes), images=images, chance=chance, patience_steps=patience))


def test_a_healthy_record_has_no_fault() -> None:
    assert pytest.approx(42.03, abs=0.01) == MANY.loss
    assert faults() == []


def test_collapse_by_similarity() -> None:
    assert faults(mean_similarity=0.95) == []
    assert faults(mean_similarity=0.951) == ["collapse"]
    assert faults(mean_similarity=0.951, chance=None, step=1) == ["collapse"]


def test_collapse_by_the_distance_in_triplets() -> None:
    assert faults(images=10_000, negative_distance=0.01) == []
    assert faults(images=10_000, negative_distance=0.009) == ["collapse"]
    # A few triplets are left of a run that has learned all others, and none at all of one that has learned every one.
    assert faults(images=20_000, negative_distance=0.009) == []
    none_left = {name: value for name, value in record(triplets=0.0).items() if name != "negative_distance"}
    assert find_faults(none_left, images=20_000) == {}


def test_a_dead_head_by_loss_and_accuracy_at_chance() -> None:
    dead = {"loss": 0.981 * MANY.loss, "train_accuracy": 2.9 / 85_000}
    assert faults(**dead) == ["dead head"]
    assert faults(**dead | {"train_accuracy": 3.1 / 85_000}) == []
    assert faults(**dead, step=1000) == []
    assert faults(**dead, step=1001) == ["dead head"]
    assert faults(**dead, chance=None) == []
    # The loss of ArcFace is far above chance in its first epochs, and that alone is no fault.
    assert faults(loss=1.3 * MANY.loss, train_accuracy=0.001) == []


def test_a_dead_head_whose_loss_fell() -> None:
    assert faults(loss=3.0, train_accuracy=2.9 / 85_000) == ["dead head"]
    few = Chance(make_head("arcface", 4, 8).loss_at_chance(), 1 / 8)
    assert faults(loss=10.0, train_accuracy=0.3, chance=few) == []
    assert faults(loss=0.99 * few.loss, train_accuracy=0.3, chance=few) == ["dead head"]


def test_too_few_images_to_judge_a_head_by() -> None:
    # The last step of an epoch can be a record of its own, and has no hits where 1 % is usual.
    assert faults(images=128, loss=40.0, train_accuracy=0.0) == []
    assert faults(images=999, loss=45.0, train_accuracy=0.0) == []
    assert faults(images=1000, loss=45.0, train_accuracy=0.0) == ["dead head"]
    assert faults(images=66, loss=40.0, train_accuracy=0.0, chance=Chance(34.0, 0.05)) == []
    assert faults(images=67, loss=40.0, train_accuracy=0.0, chance=Chance(34.0, 0.05)) == ["dead head"]


def test_starvation() -> None:
    assert faults(waiting_for_images=0.3) == []
    assert faults(waiting_for_images=0.31) == ["starvation"]
    assert faults(images=4999, waiting_for_images=0.9) == []


def test_messages_have_step_rate_and_advice() -> None:
    found = find_faults(
        record(mean_similarity=0.97, waiting_for_images=0.5, loss=44.0, train_accuracy=1e-5), images=64_000, chance=MANY
    )
    where = "step 1500 (learning rate 0.05): "
    assert found["collapse"] == (
        f"{where}the embeddings collapse onto one point (mean cosine of two images 0.970); "
        "try a lower --lr, a longer --warmup-epochs, or an --init that is trained further"
    )
    assert found["dead head"] == (
        f"{where}the head has learned nothing: 0.001 % of the images are given their own class and the loss is 44.00, "
        "and by chance it is 0.00118 % and 42.03; check the labels with facedistill inspect, "
        "begin with a smaller --margin or --scale, or change --lr"
    )
    assert found["starvation"] == (
        f"{where}50 % of the time is spent waiting for images; try more --workers, "
        "crops of the model's size, or tar shards on a local disk (facedistill convert)"
    )


def test_told_once_while_it_lasts_and_again_when_it_comes_back() -> None:
    told: list[str] = []
    guards = Guards(told.append)
    steps = {1: 0.97, 2: 0.98, 3: 0.2, 4: 0.99, 5: 0.99}
    for step, similarity in steps.items():
        guards.look(record(step=step, mean_similarity=similarity), 64_000)
    assert [message.split(" ")[1] for message in told] == ["1", "4"]


def test_starvation_has_to_last_for_two_records() -> None:
    told: list[str] = []
    guards = Guards(told.append)
    # The first batches of a run, a busy disk, and then one that is too slow.
    for step, waiting in enumerate([0.6, 0.0, 0.5, 0.1, 0.4, 0.4, 0.4, 0.1, 0.4, 0.4], start=1):
        guards.look(record(step=step, waiting_for_images=waiting), 64_000)
    assert [message.split(" ")[1] for message in told] == ["6", "10"]


pytestmark = pytest.mark.usefixtures("no_curves")


def noted(notes: list[str]) -> Listeners:
    return Listeners(note=notes.append)


def test_runs_that_learn_are_left_in_peace(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LEARNT_NOTHING", 5)
    notes: list[str] = []
    options = teacher_options(epochs=6, log_every=1, warmup_epochs=1)
    train_teacher(dataset, RunFolder(tmp_path / "a"), options, listeners=noted(notes))
    options_ = distill_options(method="triplet", epochs=6, log_every=1)
    distill(dataset, None, RunFolder(tmp_path / "b"), options_, listeners=noted(notes))
    assert notes == []


def test_a_rate_too_low_to_learn_is_told_once(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LEARNT_NOTHING", 20)
    notes: list[str] = []
    options = teacher_options(epochs=12, lr=1e-9, scale=None, margin=None)
    train_teacher(dataset, RunFolder(tmp_path / "run"), options, listeners=noted(notes))
    assert len(notes) == 1
    assert notes[0].startswith("step 21 (learning rate ")
    assert "the head has learned nothing" in notes[0]


class _Noise(FolderDataset):
    """Labels that are drawn anew whenever they are asked for."""

    generator = np.random.default_rng(0)

    @property  # type: ignore[override]
    def labels(self) -> Any:
        return self.generator.permutation(self._labels)

    @labels.setter
    def labels(self, labels: Any) -> None:
        self._labels = labels


def test_labels_that_carry_nothing_are_told_once(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LEARNT_NOTHING", 20)
    notes: list[str] = []
    options = teacher_options(epochs=12, scale=None, margin=None)
    train_teacher(_Noise(faces), RunFolder(tmp_path / "run"), options, listeners=noted(notes))
    assert len([note for note in notes if "the head has learned nothing" in note]) == 1


def test_embeddings_that_are_one_point_are_told_once(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facedistill.models.tinyfacenet import TinyFaceNet

    forward = TinyFaceNet.forward
    # What a triplet loss that freezes at its margin has come to.
    monkeypatch.setattr(TinyFaceNet, "forward", lambda net, images: 0.01 * forward(net, images) + torch.ones(()))
    notes: list[str] = []
    options = distill_options(method="triplet", log_every=1, lr=1e-6)
    records = distill(dataset, None, RunFolder(tmp_path / "run"), options, listeners=noted(notes))
    assert all(entry["mean_similarity"] > 0.99 for entry in records)
    while_training = without_final_look(notes)
    assert len(while_training) == 1
    assert while_training[0].startswith("step 1 (learning rate 1e-06): the embeddings collapse onto one point")
    assert "all embeddings are nearly one point" in notes[-1]


def test_what_is_not_finite_is_told_before_anything_is_evaluated_or_saved(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Engine._forward

    def poisoned(engine: Engine, *arguments: Any) -> Any:
        output, embeddings = forward(engine, *arguments)
        factor = torch.nan if engine.state.progress.step == 5 else 1.0  # the last step of the second epoch
        return output._replace(loss=factor * output.loss), embeddings

    evaluated: list[int] = []

    def follow(embedder: TorchEmbedder) -> dict[str, float]:
        assert all(torch.isfinite(value).all() for value in embedder.backbone.state_dict().values())
        evaluated.append(1)
        return {"accuracy": 0.5}

    monkeypatch.setattr(Engine, "_forward", poisoned)
    with pytest.raises(TrainingError, match=r"the loss is no longer finite since step 6 \(learning rate"):
        train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(), listeners=Listeners(follow=follow))
    assert evaluated == [1]
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1
