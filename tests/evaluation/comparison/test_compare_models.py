from __future__ import annotations

from pathlib import Path

import pytest

from facedistill.evaluation.comparison.compare_models import short_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/m/a.onnx", "/m/b.onnx"], ["a.onnx", "b.onnx"]),
        (["runs/a/last", "runs/b/last"], ["a/last", "b/last"]),
        (["a", "x/a"], ["a", "x/a"]),
        (["/a", "a"], ["/a", "a"]),
        (["x/y/a", "y/a", "a"], ["x/y/a", "y/a", "a"]),
    ],
)
def test_names_are_as_short_as_tells_the_models_apart(paths: list[str], names: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == names
