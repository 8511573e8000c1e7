"""docs/methods.md against the registry."""

from __future__ import annotations

import re
from pathlib import Path

from facedistill.distill import METHODS
from facedistill.distill.terms import parse_terms

PAGE = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")


def test_every_combination_on_the_page_can_be_built() -> None:
    found = re.findall(r"--method (\S+?)((?: --plus [a-z0-9:.-]+)*)(?=[ `\n])", PAGE)
    assert len(found) >= 6
    for method, plus in found:
        parse_terms(method, plus.split()[1::2])


def test_every_method_that_stands_in_the_page_is_registered() -> None:
    names = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", PAGE)) - {"class-centres"}
    assert {name for name in names if name not in METHODS} == set()
