"""What is kept of the judging: the test set's labels and pairs, and every model's embeddings of its photos."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.data.identity_list import read_identities
from facedistill.data.open_dataset import open_dataset
from facedistill.embedders.load import load_embedder
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import DataError
from facedistill.evaluation.descriptors import describe
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.files import write_atomically
from facedistill.models.complexity import count_parameters

TEST_SET, EMBEDDINGS = "test.npz", "embeddings"


@dataclass(frozen=True, eq=False)
class TestSet:
    """The photos to judge on.

    Args:
        source: the arguments of a command that open them: a path, and `--identities LIST` where only some are meant.
        fingerprint: of the data set.
        labels: (N,) int64 person of each photo.
        pairs: (P, 2) int64 photos of each listed pair.
        same: (P,) bool, whether it is genuine.
        folds: (P,) int64.
        fold_scheme: where the folds come from.
    """

    __test__ = False  # pytest takes the name for one of its own

    source: tuple[str, ...]
    fingerprint: str
    labels: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    folds: npt.NDArray[np.int64]
    fold_scheme: str


def open_source(source: Sequence[str]) -> Any:
    """The data set that `DATA` or `DATA --identities LIST` means."""
    return open_dataset(source[0], identities=read_identities(Path(source[2])) if len(source) > 1 else None)


def make_test_set(study: Path, source: tuple[str, ...], pairs: Path) -> TestSet:
    """Look up the photos of the pair list among those of the test people, and keep the result in the study.

    Raises:
        DataError: a photo of the list is missing, or the study's earlier runs were judged on other photos.
    """
    dataset = open_source(source)
    benchmark = load_pair_list(pairs, dataset)
    row_of = {dataset.key(row): row for row in range(len(dataset))}
    rows = np.array([row_of[benchmark.dataset.key(image)] for image in range(len(benchmark.dataset))], dtype=np.int64)
    test = TestSet(
        source, dataset.fingerprint, dataset.labels, rows[benchmark.pairs], benchmark.same, benchmark.folds,
        benchmark.fold_scheme,
    )  # fmt: skip
    if (study / TEST_SET).exists():
        kept = load_test_set(study)
        if kept.fingerprint != test.fingerprint or not np.array_equal(kept.pairs, test.pairs):
            raise DataError(
                "the test photos or the pairs are others than those that the study began with",
                place=study / TEST_SET,
                next_step="Use another folder for the study",
            )
        return test  # another process may be reading it
    arrays = {name: np.asarray(getattr(test, name)) for name in TestSet.__dataclass_fields__}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_atomically(study / TEST_SET, content.getvalue())
    return test


def load_test_set(study: Path) -> TestSet:
    """The test set that the study keeps; DataError where there is none."""
    try:
        with np.load(study / TEST_SET, allow_pickle=False) as arrays:
            source = tuple(map(str, arrays["source"]))
            values = {name: arrays[name] for name in ("labels", "pairs", "same", "folds")}
            return TestSet(source, str(arrays["fingerprint"]), **values, fold_scheme=str(arrays["fold_scheme"]))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"the study's test set cannot be read ({error})", place=study / TEST_SET) from error


def embed_test_set(test: TestSet, study: Path, name: str, model: str, **settings: Any) -> int | None:
    """Keep a model's unit embeddings of the test photos, each with its mirror image; its parameters if they are known.

    Args:
        test: the photos.
        study: the folder of the study.
        name: what to keep them under.
        model: a run, a checkpoint or an ONNX file.
        settings: of `load_embedder`.
    """
    embedder = load_embedder(Path(model), **settings)
    dataset = open_source(test.source)
    embeddings = describe(embedder, dataset, batch_size=128).unit
    content = io.BytesIO()
    np.save(content, embeddings.astype(np.float32))
    write_atomically(study / EMBEDDINGS / f"{name}.npy", content.getvalue())
    return count_parameters(embedder.backbone) if isinstance(embedder, TorchEmbedder) else None


def load_embeddings(study: Path, name: str) -> npt.NDArray[np.float32]:
    """(N, D) float32 unit embeddings that were kept under a name; DataError where they cannot be read."""
    path = study / EMBEDDINGS / f"{name}.npy"
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"the kept embeddings cannot be read ({error})", place=path) from error
