from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.records.names import is_listable, read_names
from facedistill.errors import DataError

# More lines than are parsed at once.
COUNT = 30_000
KEYS = np.arange(1, COUNT + 1)
CLASSES = KEYS // 7 * 2
LABELS = KEYS // 7


def line(key: int) -> str:
    return f"{key}\t{CLASSES[key - 1]}\tperson {LABELS[key - 1]}/{key}.jpg"


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(line, KEYS)),
        "\r\n".join(map(line, KEYS)) + "\r\n",
        "\n".join(line(key) for key in np.random.default_rng(0).permutation(KEYS)) + "\n",
        "\n".join(line(key).replace("\tp", ".000000\tp") for key in KEYS),
        "\n".join(line(key).replace("\tp", ".0\tp") if key % 2 else line(key) for key in KEYS),
        "\n\n".join(line(key).replace("\tp", "\t0.5\tp") for key in KEYS),
    ],
    ids=["plain", "windows", "any order", "im2rec", "mixed", "more labels and blank lines"],
)
def test_all_ways_to_write_a_list_read_the_same(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.lst").write_bytes(text.encode())
    names = read_names(tmp_path / "a.lst", KEYS, CLASSES, LABELS)
    assert names[0] == "person 0/1.jpg"
    assert names[6] == "person 1/7.jpg"
    assert names[COUNT - 1] == f"person {COUNT // 7}/{COUNT}.jpg"
    assert names.identities == [f"person {label}" for label in range(COUNT // 7 + 1)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("\n29000\t", "\nx\t"), "line 29000 is 'x"),
        (lambda text: text.replace("/29000.jpg", "/../29000.jpg"), "line 29000 is '29000"),
        (lambda text: text.replace("\n29000\t", "\n31000\t"), "does not list record 29000"),
        (lambda text: text.replace("\n29000\t8284\t", "\n29000\t8285\t"), "gives record 29000 another label"),
        (lambda text: text.replace("\n29000\t8284\t", "\n29000\t8284.5\t"), "gives record 29000 another label"),
    ],
)
def test_damage_far_into_a_list(tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    text = damage("\n".join(map(line, KEYS)))
    (tmp_path / "a.lst").write_text(text)
    with pytest.raises(DataError, match=message):
        read_names(tmp_path / "a.lst", KEYS, CLASSES, LABELS)


@pytest.mark.parametrize("name", ["a.jpg", "a/b.jpg", "a/b/c", ".hidden/x", "a/...", "..a/b", "ä b/c:d", "a.b/c"])
def test_paths_that_can_be_listed(name: str) -> None:
    assert is_listable(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/a", "a/", "a//b", "./a", "a/.", "a/..", "a/../b", "c:/x", "C:x", "a\\b", "a\tb", "a\nb", "a\0"],
)
def test_paths_that_cannot(name: str) -> None:
    assert not is_listable(name)
