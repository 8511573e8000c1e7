from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facedistill.checkpoint import load_checkpoint
from facedistill.data.folder import FolderDataset
from facedistill.data.open_dataset import open_dataset
from facedistill.data.subset import Subset
from facedistill.embedders.cache import EmbeddingCache, load_cache, make_cache, save_cache
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.load import load_embedder
from facedistill.errors import DataError, ModelFileError, UsageError
from facedistill.preprocessing import Preprocessing
from facedistill.training.distill import distill
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import train_teacher

from .conftest import distill_options, teacher_options, without_final_look


@pytest.fixture(scope="module")
def teacher(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    run = tmp_path_factory.mktemp("teacher") / "run"
    train_teacher(FolderDataset(faces), RunFolder(run), teacher_options(epochs=8, width=1.0, embedding_size=24))
    return load_embedder(run, device="cpu")


def test_triplet_distillation_runs_and_logs(teacher: Embedder, dataset: FolderDataset, tmp_path: Path) -> None:
    records = distill(dataset, teacher, RunFolder(tmp_path / "run"), distill_options())
    for record in records:
        assert record["triplets"] > 0
        assert 0 <= record["active"] <= 1
        assert 0.2 <= record["margin"] <= 0.5
        assert {"teacher_gap", "positive_distance", "negative_distance", "images_per_second"} <= set(record)
        assert record["negative_distance"] > record["positive_distance"]
    checkpoint = load_checkpoint(tmp_path / "run" / "last" / "backbone.safetensors")
    assert checkpoint.spec.embedding_size == 24
    assert checkpoint.provenance["run"]["teacher"]["fingerprint"] == teacher.fingerprint


def test_the_same_seed_gives_the_same_weights(teacher: Embedder, dataset: FolderDataset, tmp_path: Path) -> None:
    for name in ("a", "b"):
        distill(dataset, teacher, RunFolder(tmp_path / name), distill_options(seed=3))
    first, second = (load_file(tmp_path / name / "last" / "backbone.safetensors") for name in ("a", "b"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_cosine_distillation_overfits_a_tiny_set(teacher: Embedder, dataset: FolderDataset, tmp_path: Path) -> None:
    records = distill(
        dataset, teacher, RunFolder(tmp_path / "run"), distill_options(method="cosine", epochs=60, lr=0.2, width=1.0)
    )
    assert records[0]["cosine"] < 0.5
    assert records[-1]["cosine"] > 0.85


def test_the_fixed_margin_needs_no_teacher(teacher: Embedder, dataset: FolderDataset, tmp_path: Path) -> None:
    records = distill(
        dataset, None, RunFolder(tmp_path / "run"), distill_options(method="triplet", set=("margin=0.3",))
    )
    assert records[0]["margin"] == pytest.approx(0.3)
    assert "teacher_gap" not in records[0]
    notes: list[str] = []
    options = distill_options(method="triplet", epochs=1)
    distill(dataset, teacher, RunFolder(tmp_path / "with"), options, listeners=Listeners(note=notes.append))
    assert without_final_look(notes) == [
        "the method triplet needs no teacher; of this one only the embedding size is used"
    ]
    with pytest.raises(UsageError, match="the method triplet-distillation needs a teacher"):
        distill(dataset, None, RunFolder(tmp_path / "other"), distill_options())


def test_a_cache_gives_the_weights_of_its_teacher(teacher: Embedder, dataset: FolderDataset, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    save_cache(path, make_cache(teacher, dataset, embed_dataset(teacher, dataset)))
    distill(dataset, teacher, RunFolder(tmp_path / "a"), distill_options())
    distill(dataset, load_cache(path), RunFolder(tmp_path / "b"), distill_options())
    first, second = (load_file(tmp_path / name / "last" / "backbone.safetensors") for name in ("a", "b"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_cache_serves_a_part_and_refuses_another_data_set(
    teacher: Embedder, dataset: FolderDataset, faces: Path, tmp_path: Path
) -> None:
    part = open_dataset(faces, identities={"person_000002", "person_000005"})
    cache = make_cache(teacher, dataset, embed_dataset(teacher, dataset))
    rows = [index for index, label in enumerate(dataset.labels) if label in (2, 5)]
    assert np.array_equal(cache.of(part).original, cache.original[rows])
    small = make_cache(teacher, part, embed_dataset(teacher, part))
    with pytest.raises(ModelFileError, match="the cache lacks 36 of 48 images"):
        distill(dataset, small, RunFolder(tmp_path / "run"), distill_options())


def test_sizes_that_a_method_cannot_compare(teacher: Embedder, dataset: FolderDataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the student's have 8 dimensions, the teacher's 24"):
        distill(dataset, teacher, RunFolder(tmp_path / "run"), distill_options(method="cosine", embedding_size=8))
    distill(dataset, teacher, RunFolder(tmp_path / "other"), distill_options(embedding_size=8, epochs=1))


def test_a_teacher_that_sees_one_face_only_is_refused(dataset: FolderDataset, tmp_path: Path) -> None:
    rows = np.ones((len(dataset), 4), dtype=np.float32)
    keys = [dataset.key(index) for index in range(len(dataset))]
    cache = EmbeddingCache.in_memory(
        keys, rows, rows, "constant", "", Preprocessing(), dataset.fingerprint, np.zeros(48, np.uint32)
    )
    with pytest.raises(DataError, match="nearly the same embedding for every face"):
        distill(dataset, cache, RunFolder(tmp_path / "run"), distill_options())


def test_a_batch_without_room_for_two_people(dataset: FolderDataset, teacher: Embedder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a batch of 7 has no room for two people with 4 images each"):
        distill(dataset, teacher, RunFolder(tmp_path / "run"), distill_options(batch_size=7))


def test_a_cache_of_other_images_of_the_same_names_is_refused(teacher: Embedder, tmp_path: Path) -> None:
    one, other = (open_dataset(f"made-up:4x4,size=64,seed={seed}") for seed in (1, 2))
    cache = make_cache(teacher, one, embed_dataset(teacher, one))
    assert cache.of(one).original.shape[0] == 16
    assert cache.of(Subset(one, np.arange(3, 9))).original.shape[0] == 6
    with pytest.raises(ModelFileError, match="other images of the same names: 16 of 16 compared are different"):
        distill(other, cache, RunFolder(tmp_path / "run"), distill_options())
    assert not (tmp_path / "run").exists()


def test_identities_with_one_image_each_are_refused(teacher: Embedder, faces: Path, tmp_path: Path) -> None:
    dataset = Subset(FolderDataset(faces), np.arange(0, 48, 6))
    with pytest.raises(DataError, match="no identity has two images"):
        distill(dataset, teacher, RunFolder(tmp_path / "run"), distill_options())
