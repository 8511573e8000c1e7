from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facedistill.embedders.cache_ensemble import EnsembleCache
from facedistill.embedders.cache_writer import write_cache
from facedistill.embedders.load_teacher import load_teacher
from facedistill.errors import ModelFileError, UsageError

from .made_teachers import Noise, Projection


@pytest.fixture
def caches(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a", tmp_path / "b"]
    for seed, path in enumerate(paths):
        write_cache(Projection(seed=seed), Noise(), path)
    return paths


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_unknown_way_to_combine_is_never_ignored(caches: list[Path], count: int) -> None:
    with pytest.raises(UsageError, match=r"teachers are not combined by 'foo'\. Use mean or concat"):
        load_teacher(caches[:count], combine="foo")


@pytest.mark.parametrize("given", [{"color": "bgr"}, {"mean": 0.0}, {"std": 128.0}])
@pytest.mark.parametrize("count", [1, 2])
def test_a_cache_carries_its_own_preprocessing(caches: list[Path], count: int, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"the cache carries the preprocessing that it was made with; --teacher-color"):
        load_teacher(caches[:count], **given)


def test_caches_as_one(caches: list[Path]) -> None:
    together = load_teacher(caches, weights=[1e308, 1e308], combine="mean")
    assert isinstance(together, EnsembleCache)
    assert together.combination.weights == [0.5, 0.5]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no such model\. Name a run folder"):
        load_teacher([tmp_path / "none"], device="cpu")
