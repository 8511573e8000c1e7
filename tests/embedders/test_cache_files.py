from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.embedders.cache_files import RowWriter, blocks_done, create_files, images_done
from facedistill.embedders.cache_manifest import Manifest
from facedistill.embedders.embed_dataset import EmbeddedBatch
from facedistill.preprocessing import Preprocessing

MANIFEST = Manifest("m", "f", Preprocessing(), 3, "d", 10, block=4, finished=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_files(tmp_path, MANIFEST, [str(index) for index in range(10)])
    return tmp_path


def write(writer: RowWriter, *indices: int) -> None:
    rows = np.repeat(np.array(indices, dtype=np.float32)[:, np.newaxis] + 1, 3, axis=1)
    writer.write(EmbeddedBatch(np.array(indices), rows, -2 * rows), np.array(indices, dtype=np.uint32))


def done(folder: Path) -> list[bool]:
    return blocks_done(folder, MANIFEST).tolist()


def test_a_block_is_done_when_all_of_it_is_written_and_flushed(folder: Path) -> None:
    assert images_done(folder, MANIFEST) == 0
    with RowWriter(folder, MANIFEST) as writer:
        write(writer, 0, 1, 2)
        writer.flush()
        assert done(folder) == [False, False, False]
        write(writer, 3, 8)
        assert done(folder) == [False, False, False]
        writer.flush()
        assert done(folder) == [True, False, False]
        write(writer, 9)
    assert done(folder) == [True, False, True], "the end flushes too; the last block has two rows"
    assert images_done(folder, MANIFEST) == 6


def test_rows_go_where_they_belong(folder: Path) -> None:
    """In one batch those before and behind a block that somebody else has written."""
    with RowWriter(folder, MANIFEST) as writer:
        write(writer, 5)
        write(writer, 2, 3, 8, 9)
    norms = np.load(folder / "norms.npy")
    expected = np.zeros((10, 2), np.float32)
    for index in (2, 3, 5, 8, 9):
        expected[index] = (index + 1) * np.sqrt(np.float32(3)) * np.array([1, 2], np.float32)
    assert np.allclose(norms, expected)
    directions = np.load(folder / "directions.npy")
    assert np.flatnonzero(directions.any(axis=(1, 2))).tolist() == [2, 3, 5, 8, 9]
    assert np.allclose(directions[8], [[3**-0.5] * 3, [-(3**-0.5)] * 3], atol=1e-3)
    assert np.load(folder / "checksums.npy").tolist() == [0, 0, 2, 3, 0, 5, 0, 0, 8, 9]
