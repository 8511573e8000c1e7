from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facedistill.embedders import cache_files, cache_manifest, cache_writer
from facedistill.embedders.cache import EmbeddingCache, is_cache, load_cache
from facedistill.embedders.cache_writer import write_cache
from facedistill.errors import DataError, ModelFileError, UsageError
from facedistill.ranks import rank

from ..two_processes import run_in_two_processes
from .made_teachers import Noise, Projection

COUNT = 23
FILES = ("manifest.json", "keys.json", "directions.npy", "norms.npy", "checksums.npy")


def bytes_of(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def ignore(key: str, error: DataError) -> None:
    pass


def killed_after(batches: int, write: Callable[[Callable[[int, int], None]], EmbeddingCache]) -> int:
    """How a process ended that writes a cache and is killed after some batches."""
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == batches:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            write(progress)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, str]:
    write_cache(Projection(), Noise(corrupt=(2, 13)), tmp_path / "whole", batch_size=4, on_corrupt=ignore)
    return bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("batch_size", [4, 3, 64])
def test_a_killed_run_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, str], batch_size: int
) -> None:
    """Byte for byte what an uninterrupted run writes, whatever the size of the batches that go on."""
    monkeypatch.setattr(cache_files, "FLUSH_SECONDS", 0.0)
    out, dataset = tmp_path / "cache", Noise(corrupt=(2, 13))
    status = killed_after(
        3, lambda progress: write_cache(Projection(), dataset, out, batch_size=4, on_corrupt=ignore, progress=progress)
    )
    assert status == signal.SIGKILL
    assert is_cache(out)
    with pytest.raises(
        ModelFileError, match=r"not finished: 12 of 23 images are embedded\. Run facedistill embed again"
    ):
        load_cache(out)
    notes: list[str] = []
    seen: list[tuple[int, int]] = []
    corrupt: dict[str, str] = {}
    teacher, dataset = Projection(), Noise(corrupt=(2, 13))
    write_cache(
        teacher,
        dataset,
        out,
        batch_size=batch_size,
        on_corrupt=lambda key, error: corrupt.update({key: error.cause}),
        progress=lambda done, total: seen.append((done, total)),
        note=notes.append,
    )
    assert notes == [f"going on with the cache in {out}: 12 of 23 images were done"]
    assert seen[0][0] == min(COUNT, 12 + batch_size)
    assert seen[-1] == (COUNT, COUNT)
    assert sum(shape[0] for shape in teacher.shapes) == 2 * (COUNT - 12 - 1), "what was done is not embedded again"
    assert corrupt["person/2.png"] == "it could not be decoded in the earlier run"
    assert "unknown kind" in corrupt["person/13.png"]
    assert bytes_of(out) == whole
    assert load_cache(out).manifest.missing == 2


def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, str]) -> None:
    monkeypatch.setattr(cache_files, "FLUSH_SECONDS", 0.0)
    out, dataset = tmp_path / "cache", Noise(corrupt=(2, 13))

    def write(progress: Callable[[int, int], None]) -> EmbeddingCache:
        return write_cache(Projection(), dataset, out, batch_size=4, on_corrupt=ignore, progress=progress)

    statuses = []
    while not statuses or statuses[-1]:
        statuses.append(killed_after(2, write))
    assert statuses == [signal.SIGKILL] * 3 + [0]
    assert bytes_of(out) == whole


def test_what_is_not_on_the_disk_is_not_done(tmp_path: Path, whole: dict[str, str]) -> None:
    """Within the seconds between two flushes nothing is noted; the work is done again, and right."""
    out, dataset = tmp_path / "cache", Noise(corrupt=(2, 13))
    killed_after(
        3, lambda progress: write_cache(Projection(), dataset, out, batch_size=4, on_corrupt=ignore, progress=progress)
    )
    with pytest.raises(ModelFileError, match="not finished: 0 of 23"):
        load_cache(out)
    write_cache(Projection(), dataset, out, batch_size=4, on_corrupt=ignore)
    assert bytes_of(out) == whole


@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_before_there_was_a_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, str], step: int, overwrite: bool
) -> None:
    """At whatever file it stops, what is left is known to be of a cache; where one was written over, too."""
    out = tmp_path / "cache"
    if overwrite:
        write_cache(Projection(seed=1), Noise(), out)
    calls = [0]

    def stop(path: Path) -> None:
        calls[0] += 1
        if calls[0] > step:
            raise KeyboardInterrupt

    remove = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        stop(path)
        remove(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        if overwrite:
            patch.setattr(Path, "unlink", unlink)
        else:
            patch.setattr(cache_files, "force_to_disk", stop)
            patch.setattr(cache_manifest, "force_to_disk", stop)
        with pytest.raises(KeyboardInterrupt):
            write_cache(Projection(), Noise(corrupt=(2, 13)), out, batch_size=4, on_corrupt=ignore, overwrite=overwrite)
    left = {path.name for path in out.iterdir()} - {".lock"}
    assert "directions.npy" in left
    write_cache(Projection(), Noise(corrupt=(2, 13)), out, batch_size=4, on_corrupt=ignore, overwrite=overwrite)
    assert bytes_of(out) == whole


@pytest.mark.parametrize("left", [(), (".lock",), (".lock", "directions.npy")])
def test_empty_files_are_what_a_kill_leaves_first(tmp_path: Path, whole: dict[str, str], left: tuple[str, ...]) -> None:
    out = tmp_path / "cache"
    out.mkdir()
    for name in left:
        (out / name).touch()
    write_cache(Projection(), Noise(corrupt=(2, 13)), out, batch_size=4, on_corrupt=ignore)
    assert bytes_of(out) == whole


def test_an_error_keeps_what_is_whole(tmp_path: Path, whole: dict[str, str]) -> None:
    out, dataset = tmp_path / "cache", Noise(corrupt=(2, 13))

    def stop(done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cache(Projection(), dataset, out, batch_size=4, on_corrupt=ignore, progress=stop)
    with pytest.raises(ModelFileError, match="not finished: 12 of 23"):
        load_cache(out)
    write_cache(Projection(), dataset, out, batch_size=4, on_corrupt=ignore)
    assert bytes_of(out) == whole


def unfinished(out: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cache(Projection(), Noise(), out, batch_size=4, progress=stop)


@pytest.mark.parametrize("finished", [False, True])
def test_another_teacher_or_data_set_does_not_go_on(tmp_path: Path, finished: bool) -> None:
    out = tmp_path / "cache"
    if finished:
        write_cache(Projection(), Noise(), out, batch_size=4)
    else:
        unfinished(out)
    state = "a cache" if finished else "an unfinished cache"
    before = bytes_of(out)
    cases: list[tuple[Projection, Noise, str]] = [
        (Projection(seed=1), Noise(), r"of another teacher: projection-0 \(weights 0+\), and this one is projection-1"),
        (Projection(dimensions=8), Noise(), "of embeddings of 16 dimensions, and this teacher's have 8"),
        (Projection(color="bgr"), Noise(), "of the same teacher with another preprocessing: 8x8 RGB"),
        (Projection(), Noise(24), "of 23 images, and the data set has 24"),
        (
            Projection(),
            Noise(fingerprint="e" * 64),
            r"of another data set of 23 images \(fingerprint dddddddddddd, and",
        ),
    ]
    for teacher, dataset, message in cases:
        with pytest.raises(UsageError, match=f"there is {state} {message}.*Use another name, or --overwrite"):
            write_cache(teacher, dataset, out)
    # A fingerprint of names and sizes would not see this.
    with pytest.raises(UsageError, match="made of other images of the same names"):
        write_cache(Projection(), Noise(seed=1), out)
    assert bytes_of(out) == before
    assert write_cache(Projection(seed=1), Noise(24), out, overwrite=True).manifest.images == 24


def test_a_finished_cache_is_given_as_it_is(tmp_path: Path) -> None:
    first = write_cache(Projection(), Noise(), tmp_path)
    teacher, notes = Projection(), list[str]()
    again = write_cache(teacher, Noise(), tmp_path, note=notes.append)
    assert teacher.shapes == []
    assert notes == [f"the cache in {tmp_path} was finished before, so nothing is embedded"]
    assert np.array_equal(first.original, again.original)


def test_strangers_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    for out, message in ((tmp_path, "something else than a cache, '"), (tmp_path / "file", "a file lies there")):
        with pytest.raises(UsageError, match=message):
            write_cache(Projection(), Noise(), out, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", "file"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("keys.json", b"{}"),
        ("norms.npy", b""),
        (".manifest.json.partial", b""),
        (".lock", b"4711"),
        ("directions.npy", b"wind"),
        ("manifest.json", b"not json"),
        ("manifest.json", b""),
        ("manifest.json", b"[" * 100_000),
        ("manifest.json", b'{"name": "an app"}'),
        ("manifest.json", b'["facedistill-embeddings"]'),
    ],
)
def test_files_of_the_same_names_are_not_taken_for_a_cache(
    tmp_path: Path, name: str, content: bytes, overwrite: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        UsageError, match=rf"something else than a cache, '{name}', so it is left alone\. Use another n"
    ):
        write_cache(Projection(), Noise(), tmp_path, overwrite=overwrite)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, content)]


@pytest.mark.parametrize(("shape", "dtype"), [((23, 16), "f2"), ((23, 3, 16), "f2"), ((23, 2, 16), "f4")])
def test_somebody_elses_arrays(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    np.save(tmp_path / "directions.npy", np.ones(shape, dtype))
    (tmp_path / "keys.json").write_text("{}")
    with pytest.raises(UsageError, match=r"something else than a cache, 'directions\.npy'"):
        write_cache(Projection(), Noise(), tmp_path, overwrite=True)
    assert np.load(tmp_path / "directions.npy").shape == shape
    (tmp_path / "directions.npy").write_bytes(b"")
    with pytest.raises(UsageError, match=r"something else than a cache, 'directions\.npy'"):
        write_cache(Projection(), Noise(), tmp_path, overwrite=True)


def test_a_finished_cache_need_not_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_cache(Projection(), Noise(), tmp_path).original
    (tmp_path / ".lock").unlink(missing_ok=True)

    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    for owner, name in ((cache_writer, "FileLock"), (os, "replace"), (Path, "touch"), (Path, "write_bytes")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert np.array_equal(write_cache(Projection(), Noise(), tmp_path).original, before)
    with pytest.raises(UsageError, match="there is a cache of another teacher"):
        write_cache(Projection(seed=1), Noise(), tmp_path)
    with pytest.raises(DataError, match="cannot be written"):
        write_cache(Projection(), Noise(), tmp_path, overwrite=True)


def test_two_at_once(tmp_path: Path) -> None:
    def interfere(done: int, total: int) -> None:
        with pytest.raises(UsageError, match="another process is writing this cache"):
            write_cache(Projection(), Noise(), tmp_path)

    write_cache(Projection(), Noise(), tmp_path, progress=interfere)


def test_corrupt_images_stop_it_unless_they_are_told_to_somebody(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"person/5\.png: the image is corrupt"):
        write_cache(Projection(), Noise(corrupt=(5,)), tmp_path, batch_size=4)
    write_cache(Projection(), Noise(corrupt=(5,)), tmp_path, on_corrupt=ignore)
    with pytest.raises(DataError, match=r"person/5\.png: it could not be decoded in the earlier run"):
        write_cache(Projection(), Noise(corrupt=(5,)), tmp_path)


def test_every_image_is_read_once(tmp_path: Path) -> None:
    dataset = Noise()
    dataset.stored[7] = b""
    cache = write_cache(Projection(), dataset, tmp_path, on_corrupt=ignore)
    assert dataset.read == [1] * COUNT
    assert cache.checksums[7] == 0
    assert (np.delete(cache.checksums, 7) > 0).all()


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 100))  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"the cache takes 1\.7 kB, and the disk has 0\.1 kB left"):
        write_cache(Projection(), Noise(), tmp_path)


def test_a_disk_that_runs_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, str]) -> None:
    out, dataset = tmp_path / "cache", Noise(corrupt=(2, 13))
    with monkeypatch.context() as patch:
        write = cache_files._RowFile.write
        count = [0]

        def full(self: object, first: int, rows: np.ndarray) -> None:
            count[0] += 1
            if count[0] > 10:
                raise OSError(28, "No space left on device")
            write(self, first, rows)  # type: ignore[arg-type]

        patch.setattr(cache_files._RowFile, "write", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)\. What is done is kept"):
            write_cache(Projection(), dataset, out, batch_size=4, on_corrupt=ignore)
    write_cache(Projection(), dataset, out, batch_size=4, on_corrupt=ignore)
    assert bytes_of(out) == whole


def shared_writing(fresh: Path, begun: Path) -> tuple[list[int], list[str], float]:
    """In each of two processes: a cache from the beginning, and one that a single process began."""
    teacher, corrupt = Projection(), list[str]()

    def on_corrupt(key: str, error: DataError) -> None:
        corrupt.append(key)

    cache = write_cache(teacher, Noise(corrupt=(2, 13)), fresh, batch_size=4, on_corrupt=on_corrupt)
    embedded = [shape[0] for shape in teacher.shapes]
    write_cache(teacher, Noise(), begun, batch_size=4)
    assert rank() in (0, 1)
    return embedded, sorted(corrupt), float(np.nansum(cache.original))


def test_two_processes_write_what_one_writes(tmp_path: Path, whole: dict[str, str]) -> None:
    unfinished(tmp_path / "begun")
    results = run_in_two_processes(shared_writing, tmp_path / "fresh", tmp_path / "begun", tmp_path=tmp_path)
    # Six blocks of four images, two calls each; every other block is this process's.
    assert [sum(embedded) for embedded, _, _ in results] == [2 * 11, 2 * 10]
    assert [corrupt for _, corrupt, _ in results] == [["person/13.png", "person/2.png"]] * 2
    assert results[0][2] == results[1][2]
    assert bytes_of(tmp_path / "fresh") == whole
    write_cache(Projection(), Noise(), tmp_path / "one", batch_size=4)
    assert bytes_of(tmp_path / "begun") == bytes_of(tmp_path / "one")
