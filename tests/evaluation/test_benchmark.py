from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.verification_bin import write_bin
from facedistill.errors import DataError
from facedistill.evaluation.benchmark import Benchmark, load_bin_benchmark


def test_a_bin_file_has_contiguous_folds(tmp_path: Path) -> None:
    path = tmp_path / "lfw.bin"
    write_bin(path, [b"%d" % index for index in range(80)], [True, False] * 20)
    benchmark = load_bin_benchmark(path)
    assert benchmark.name == "lfw"
    assert benchmark.folds.tolist() == np.repeat(np.arange(10), 4).tolist()
    assert benchmark.fold_scheme == "10 contiguous folds"
    assert benchmark.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert benchmark.pairs.tolist() == np.arange(80).reshape(-1, 2).tolist()


def test_folds_are_stratified_where_contiguous_ones_hold_one_class(tmp_path: Path) -> None:
    path = tmp_path / "set.bin"
    write_bin(path, [b"%d" % index for index in range(80)], [True] * 20 + [False] * 20)
    benchmark = load_bin_benchmark(path)
    assert benchmark.folds.tolist() == [*np.repeat(np.arange(10), 2), *np.repeat(np.arange(10), 2)]
    assert benchmark.fold_scheme == "10 stratified folds"


def test_a_short_bin_file(tmp_path: Path) -> None:
    path = tmp_path / "set.bin"
    write_bin(path, [b"%d" % index for index in range(12)], [True, False] * 3)
    assert load_bin_benchmark(path).fold_scheme == "3 stratified folds"
    write_bin(path, [b"%d" % index for index in range(4)], [True, False])
    with pytest.raises(DataError, match=r"set\.bin: 1 genuine and 1 impostor"):
        load_bin_benchmark(path)


def test_equal_images_of_a_bin_file_are_one(tmp_path: Path) -> None:
    path = tmp_path / "set.bin"
    write_bin(path, [b"a", b"b", b"a", b"c", b"c", b"d", b"b", b"e"], [True, False, True, False])
    assert load_bin_benchmark(path).pairs.tolist() == [[0, 1], [0, 3], [3, 5], [1, 7]]


class Images:
    def __len__(self) -> int:
        return 3

    def image(self, index: int) -> np.ndarray:
        raise NotImplementedError

    def key(self, index: int) -> str:
        return str(index)


@pytest.mark.parametrize(
    ("pairs", "same", "folds", "message"),
    [
        ([[0, 1], [1, 3]] * 2, [True, False] * 2, [0, 0, 1, 1], "points outside the 3 images"),
        ([[0, 1], [1, -1]] * 2, [True, False] * 2, [0, 0, 1, 1], "points outside the 3 images"),
        ([[0, 1], [1, 2]], [True], [0, 1], "do not belong together"),
        ([[0, 1], [1, 2]], [True, False], [0], "do not belong together"),
        ([[0, 1, 2]], [True], [0], "do not belong together"),
        ([[0, 1], [1, 2]], [True, True], [0, 1], "2 genuine and 0 impostor"),
        ([[0, 1], [1, 2]], [False, False], [0, 1], "0 genuine and 2 impostor"),
        ([[0, 1], [1, 2]] * 2, [True, False] * 2, [0, 0, 0, 0], "one fold holds every"),
        ([[0, 1], [1, 2]] * 2, [True, False] * 2, [0, 1, 0, 1], "one fold holds every"),
    ],
)
def test_pairs_that_make_no_benchmark(pairs: list[list[int]], same: list[bool], folds: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Benchmark("made", Images(), np.array(pairs), np.array(same), np.array(folds), "given")
