"""Both ways to write a card: the same facts, and nothing from outside that is taken for markup."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.card.blocks import Code, Facts, Points, Table, Words
from facedistill.card.card import ModelCard, make_card
from facedistill.card.markdown import card_markdown, escape
from facedistill.card.page import card_page
from facedistill.card.training_facts import training_facts, without_folders
from facedistill.card.write import write_card
from facedistill.errors import DataError, UsageError
from facedistill.files import file_sha256
from facedistill.saved_results import SavedResults

EVIL = "<script>alert(1)</script> | [a](b) `c` \x1b[31m\n# d"


class Parsed(HTMLParser):
    """Which elements a page has, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def card(tmp_path: Path, make_onnx: Callable[..., Path], judged: Callable[..., Any]) -> ModelCard:
    path = make_onnx(tmp_path / "m.onnx", teacher_license=EVIL)
    found = judged(file_sha256(path), name=EVIL, warnings=(EVIL,))
    return make_card(path, [SavedResults(Path("r.json"), judged=(found,))])


def texts_of(card: ModelCard) -> list[str]:
    found = [card.title]
    for section in card.sections():
        found.append(section.title)
        for block in section.blocks:
            if isinstance(block, Words):
                found.append(block.text)
            elif isinstance(block, Points):
                found += block.lines
            elif isinstance(block, Facts | Table):
                found += [cell for row in block.rows for cell in row]
            elif isinstance(block, Code):
                found += block.text.splitlines()
    return found


def test_both_say_the_same(run: Path) -> None:
    card = make_card(run)
    markdown, page = card_markdown(card), Parsed(card_page(card)).text
    for text in texts_of(card):
        assert text in page
        assert escape(text) in markdown or text in markdown


def test_nothing_from_outside_is_markup(card: ModelCard) -> None:
    page = Parsed(card_page(card))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    markdown = card_markdown(card)
    assert "<script" not in markdown
    assert "\x1b" not in markdown
    assert "\n# d" not in markdown
    rows = [line for line in markdown.splitlines() if "alert" in line and line.startswith("| ")]
    assert rows
    assert all(line.count(" | ") == line.count(" | ", 1) for line in rows)
    # A bar in a cell would make one more of it.
    assert len({line.replace("\\|", "").count("|") for line in rows if "6,000" in line}) == 1


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    found = escape(text)
    assert len(found.splitlines()) <= 1
    assert found.isprintable()
    plain = found
    for letter in "\\`*[]#|~_":
        plain = plain.replace(f"\\{letter}", "")
    assert not set(plain) & set("`*[]|<")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["method", "plus", "set", "epochs", "lr", "data", "init", "seed", "head", "scale", "epoch"])
FACTS = st.sampled_from(["command", "teacher", "data", "backbone", "facedistill"])


@given(st.dictionaries(NAMES, PLAIN), st.dictionaries(FACTS, PLAIN | st.just("distill") | st.just("train-teacher")))
def test_any_provenance_is_read(options: dict[str, Any], facts: dict[str, Any]) -> None:
    found = training_facts({**options, "run": facts})
    assert all(isinstance(cell, str) for row in found.rows for cell in row)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("teachers/r50", "r50"),
        ("/home/a/teachers/r50/", "r50"),
        ("C:\\faces\\r50.onnx", "r50.onnx"),
        ("r50.onnx", "r50.onnx"),
        ("mean of 0.5 /a/b.onnx + 0.5 c/d.onnx", "mean of 0.5 b.onnx + 0.5 d.onnx"),
    ],
)
def test_nobodys_folders_are_given_away(path: str, name: str) -> None:
    assert without_folders(path) == name


def test_writing(card: ModelCard, tmp_path: Path) -> None:
    for name in ("a.md", "folder/a.html"):
        write_card(card, tmp_path / name)
        assert "Model card" in (tmp_path / name).read_text("utf-8")
    with pytest.raises(UsageError, match=r"cannot be written as '\.txt'"):
        write_card(card, tmp_path / "a.txt")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="the card cannot be written"):
        write_card(card, tmp_path / "file" / "a.md")
