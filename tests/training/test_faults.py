"""What a training run is given that it cannot be trained on: told before the first step, with nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.data.folder import FolderDataset
from facedistill.data.open_dataset import open_dataset
from facedistill.data.subset import Subset
from facedistill.embedders.cache import EmbeddingCache
from facedistill.errors import DataError, FacedistillError, ModelFileError, UsageError
from facedistill.preprocessing import Preprocessing
from facedistill.training.distill import distill
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import train_teacher

from .conftest import distill_options, teacher_options


class TeacherOfNaN:
    """Embeds everything well but for one image in each batch."""

    name, fingerprint, embedding_size, preprocessing = "nan.onnx", "f", 8, Preprocessing(size=64)

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        embeddings = np.random.default_rng(0).normal(size=(len(images), 8)).astype(np.float32)
        embeddings[3] = np.nan
        return embeddings


def test_a_teacher_that_gives_nan(dataset: FolderDataset, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as error:
        distill(dataset, TeacherOfNaN(), RunFolder(tmp_path / "run"), distill_options())
    message = str(error.value)
    assert message.startswith(f"nan.onnx: the embedding of image '{dataset.key(3)}' is not finite")
    assert "Its weights may have diverged in training" in message
    assert not (tmp_path / "run").exists()


def test_one_image_in_all(dataset: FolderDataset, tmp_path: Path) -> None:
    one = Subset(dataset, np.arange(1))
    with pytest.raises(DataError, match="holds 1 identity; two are the least that can be told apart"):
        train_teacher(one, RunFolder(tmp_path / "run"), teacher_options())
    cache = noise_of(one)
    with pytest.raises(DataError, match="holds 1 identity; two are the least that can be told apart"):
        distill(one, cache, RunFolder(tmp_path / "run"), distill_options())
    assert not (tmp_path / "run").exists()


def test_two_images_of_two_people_are_the_least(dataset: FolderDataset, tmp_path: Path) -> None:
    two = Subset(dataset, np.array([0, 6]))
    records = train_teacher(two, RunFolder(tmp_path / "run"), teacher_options(epochs=3))
    assert np.isfinite([record["loss"] for record in records]).all()
    with pytest.raises(DataError, match="no identity has two images"):
        distill(two, noise_of(two), RunFolder(tmp_path / "other"), distill_options())


@pytest.mark.parametrize("method", ["triplet", "triplet-distillation", "cosine"])
def test_batches_of_one_identity_change_nothing_for_the_worse(
    method: str, dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sampler makes one; should it happen all the same, a batch without a triplet has a loss and a gradient of 0."""
    own = [np.arange(6, dtype=np.int64)] * 3
    monkeypatch.setattr("facedistill.data.batches.sampling.IdentitySampler.batches", lambda self, epoch: own)
    records = distill(dataset, noise_of(dataset), RunFolder(tmp_path / "run"), distill_options(method=method, epochs=1))
    assert np.isfinite(records[0]["loss"])
    if method != "cosine":
        assert records[0]["triplets"] == 0
        assert records[0]["loss"] == 0
        assert records[0]["gradient_norm"] == 0


def test_a_person_with_all_images_in_a_batch_of_a_head(dataset: FolderDataset, tmp_path: Path) -> None:
    people = Subset(dataset, np.concatenate([np.arange(6), np.array([6])]))
    records = train_teacher(people, RunFolder(tmp_path / "run"), teacher_options(batch_size=2, epochs=2))
    assert np.isfinite([record["loss"] for record in records]).all()


@pytest.mark.parametrize(
    ("label", "message"),
    [(8, "has label 8, and the labels go from 0 to 7"), (-1, "has label -1, and the labels go from 0 to 7")],
)
@pytest.mark.parametrize("partial_fc", [None, 0.5])
def test_labels_out_of_range(
    label: int, message: str, partial_fc: float | None, dataset: FolderDataset, tmp_path: Path
) -> None:
    dataset.labels = np.where(np.arange(48) == 11, label, dataset.labels)
    with pytest.raises(DataError) as error:
        train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(partial_fc=partial_fc))
    assert f"image '{dataset.key(11)}' {message}" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_options_that_do_not_go_together(dataset: FolderDataset, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"accumulate": 4}, "an epoch has 3 batch(es), fewer than the 4 that make a step"),
        ({"accumulate": 2, "partial_fc": 0.5}, "--partial-fc below 1 chooses its classes for one batch"),
        ({"precision": "16"}, "16-bit floats need a GPU. Use bf16 or 32 on the CPU"),
        ({"schedule": "cosin"}, "there is no learning-rate schedule called 'cosin'. Did you mean 'cosine'?"),
        ({"schedule": "step"}, "--milestones"),
        ({"head": "magface"}, "margin"),
    ]
    for changes, message in cases:
        with pytest.raises(UsageError) as error:
            train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(**changes))
        assert message in str(error.value)
        assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made(dataset: FolderDataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises((FacedistillError, OSError)):
        train_teacher(dataset, RunFolder(tmp_path / "file" / "run"), teacher_options())


def test_made_up_data_need_no_files(tmp_path: Path) -> None:
    records = train_teacher(
        open_dataset("made-up:6x4,size=64"), RunFolder(tmp_path / "run"), teacher_options(batch_size=8)
    )
    assert len(records) == 2


def noise_of(dataset: FolderDataset | Subset) -> EmbeddingCache:
    rows = np.random.default_rng(0).normal(size=(2, len(dataset), 8)).astype(np.float32)
    keys = [dataset.key(index) for index in range(len(dataset))]
    sums = np.zeros(len(dataset), np.uint32)
    return EmbeddingCache.in_memory(keys, rows[0], rows[1], "noise", "", Preprocessing(), dataset.fingerprint, sums)
