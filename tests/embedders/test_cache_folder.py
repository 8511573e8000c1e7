from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.embedders.cache_folder import cache_for, cache_place, default_cache_folder
from facedistill.errors import UsageError

from .made_teachers import Noise, Projection


def test_it_is_made_once(tmp_path: Path) -> None:
    teacher, notes = Projection(), list[str]()
    first = cache_for(teacher, Noise(), tmp_path, note=notes.append)
    calls = len(teacher.shapes)
    second = cache_for(teacher, Noise(), tmp_path, note=notes.append)
    assert len(teacher.shapes) == calls > 0
    assert first.place == second.place
    assert np.array_equal(first.original, second.original)
    assert notes == [
        f"the teacher's embeddings are kept in {first.place}",
        f"the cache in {first.place} was finished before, so nothing is embedded",
    ]


def test_another_teacher_preprocessing_or_data_set_has_another_place(tmp_path: Path) -> None:
    pairs = [
        (Projection(), Noise()),
        (Projection(seed=1), Noise()),
        (Projection(color="bgr"), Noise()),
        (Projection(dimensions=8), Noise()),
        (Projection(), Noise(fingerprint="e" * 64)),
    ]
    places = [cache_place(teacher, dataset, tmp_path) for teacher, dataset in pairs]
    assert len(set(places)) == len(places)
    assert all(place.parent == tmp_path for place in places)
    for teacher, dataset in pairs:
        cache_for(teacher, dataset, tmp_path)
    assert len(list(tmp_path.iterdir())) == len(pairs)


def test_one_that_was_only_begun_is_finished(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_for(Projection(), Noise(), tmp_path, batch_size=4, progress=stop)
    teacher = Projection()
    assert len(cache_for(teacher, Noise(), tmp_path, batch_size=4).of(Noise())) == 23
    assert sum(shape[0] for shape in teacher.shapes) == 2 * 19


def test_images_that_changed_under_their_names(tmp_path: Path) -> None:
    """A folder's fingerprint is of names and sizes; that of other crops may be the same."""
    cache_for(Projection(), Noise(), tmp_path)
    with pytest.raises(UsageError, match="made of other images of the same names"):
        cache_for(Projection(), Noise(seed=1), tmp_path)


def test_a_teacher_without_a_fingerprint(tmp_path: Path) -> None:
    teacher = Projection()
    teacher.fingerprint = ""
    with pytest.raises(UsageError, match="weights are of no file"):
        cache_for(teacher, Noise(), tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"the folder of caches cannot be written.*--cache off"):
        cache_for(Projection(), Noise(), tmp_path / "file" / "caches")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_folder() == tmp_path / "xdg" / "facedistill"
    assert cache_for(Projection(), Noise()).place.startswith(str(tmp_path / "xdg" / "facedistill"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_cache_folder() == tmp_path / ".cache" / "facedistill"
