from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.image_files import ImageFiles
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.slice_values import read_image_values, read_pair_values


def pair_list(tmp_path: Path, rows: list[str], header: str = "path_a,path_b,same,age gap,pose") -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def with_gaps(tmp_path: Path, gaps: list[object]) -> Path:
    return pair_list(tmp_path, [f"a/{n}.png,b/{n}.png,1,{gap},front" for n, gap in enumerate(gaps)])


def test_words_are_taken_as_they_are(tmp_path: Path) -> None:
    path = pair_list(tmp_path, ["a,b,1,3, front", "c,d,0,,profile", "", "e,f,1,8,", 'g,h,1,1,"front"'])
    found = read_pair_values(path, "pose")
    assert found.values == ("front", "profile", None, "front")
    assert found.order == ("front", "profile")
    assert (found.column, found.source) == ("pose", str(path))
    assert found.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_few_numbers_are_words_in_their_order(tmp_path: Path) -> None:
    found = read_pair_values(with_gaps(tmp_path, [10, 9, 10, ""]), "age gap")
    assert found.values == ("10", "9", "10", None)
    assert found.order == ("9", "10")


def test_many_numbers_are_cut_into_quarters(tmp_path: Path) -> None:
    gaps = list(np.random.default_rng(0).permutation(np.arange(40) / 2))
    found = read_pair_values(with_gaps(tmp_path, gaps), "age gap")
    assert found.order == ("below 5", "5 to below 10", "10 to below 15", "15 and above")
    for gap, value in zip(gaps, found.values, strict=True):
        assert value == found.order[int(gap // 5)]
    assert [found.values.count(name) for name in found.order] == [10] * 4


def test_another_number_of_ranges(tmp_path: Path) -> None:
    assert read_pair_values(with_gaps(tmp_path, list(range(10))), "age gap", bins=2).order == ("below 5", "5 and above")


def test_a_frequent_number_makes_one_cut(tmp_path: Path) -> None:
    """Half of the gaps are 0: the lower cuts fall together there, and no range is empty."""
    gaps = [0] * 20 + list(range(1, 21))
    found = read_pair_values(with_gaps(tmp_path, gaps), "age gap")
    assert found.order == ("below 1", "1 to below 11", "11 and above")
    assert [found.values.count(name) for name in found.order] == [20, 10, 10]


def test_given_edges(tmp_path: Path) -> None:
    found = read_pair_values(with_gaps(tmp_path, [-3, 0, 4.99, 5, "", 1000]), "age gap", edges=[0, 5, 100, 200])
    assert found.values == ("below 0", "0 to below 5", "0 to below 5", "5 to below 100", None, "200 and above")
    assert found.order == ("below 0", "0 to below 5", "5 to below 100", "200 and above")
    for edges in ([], [5, 0], [1, 1], [float("nan")]):
        with pytest.raises(UsageError, match="rising numbers"):
            read_pair_values(with_gaps(tmp_path, [1, 2]), "age gap", edges=edges)
    with pytest.raises(UsageError, match="'front' is no number"):
        read_pair_values(with_gaps(tmp_path, [1, 2]), "pose", edges=[1])


def test_infinity_is_a_word(tmp_path: Path) -> None:
    assert read_pair_values(with_gaps(tmp_path, ["inf", *range(8)]), "age gap").order[-1] == "inf"


def test_a_column_that_does_not_exist(tmp_path: Path) -> None:
    path = with_gaps(tmp_path, [1])
    with pytest.raises(UsageError, match="Did you mean 'age gap'"):
        read_pair_values(path, "agegap")
    with pytest.raises(UsageError, match="no column to slice by"):
        read_pair_values(path, "same")
    (tmp_path / "lfw.txt").write_text("1\nAnn 1 2\nAnn 1 Bo 1\n")
    with pytest.raises(UsageError, match="only a pair list in CSV"):
        read_pair_values(tmp_path / "lfw.txt", "age gap")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows below a header"),
        (b"path_a,pose\n", "no rows below a header"),
        (b"path_a,pose\na,b,c\n", "row 1 has 3 fields and the header 2"),
        (b"path_a,pose\na,\xff\n", "no UTF-8"),
        (b"path_a,pose\n" + b"a," + b"x" * 200_000, "it is no CSV"),
    ],
)
def test_broken_tables(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pair_values(path, "pose")
    with pytest.raises(UsageError, match="there is no such table"):
        read_pair_values(tmp_path / "none.csv", "pose")
    with pytest.raises(DataError, match="cannot be read"):
        read_pair_values(tmp_path, "pose")


NAMES = ("Ann/1.png", "Ann/2.png", "Bo/1.jpg", "Cy/1.png")


def judged(pairs: list[tuple[int, int]]) -> JudgedPairs:
    count = len(pairs)
    return JudgedPairs(
        np.array(pairs, dtype=np.int64), np.ones(count, dtype=bool), np.arange(count), np.zeros(count),
        ImageFiles(Path("somewhere"), NAMES),
    )  # fmt: skip


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "images.csv"
    path.write_text(text)
    return path


def test_values_of_images_make_values_of_pairs(tmp_path: Path) -> None:
    path = table(tmp_path, "image,group\nAnn/1.png,x\nAnn/2,x\nBo\\1.jpg,b\nCy/1.png,\nother.png,z\n")
    found = read_image_values(path, "group", judged([(0, 1), (0, 2), (2, 1), (3, 0), (2, 2)]))
    assert found.values == ("x", "b / x", "b / x", None, "b")
    assert found.order == ("b", "x", "b / x")


def test_numbers_of_images_are_cut_before_they_are_paired(tmp_path: Path) -> None:
    path = table(tmp_path, "image,age\nAnn/1.png,8\nAnn/2.png,20\nBo/1.jpg,35\nCy/1.png,60\n")
    found = read_image_values(path, "age", judged([(0, 1), (2, 3), (3, 0), (2, 2)]), edges=[18, 40])
    assert found.values == ("below 18 / 18 to below 40", "18 to below 40 / 40 and above", "below 18 / 40 and above", "18 to below 40")  # fmt: skip  # noqa: E501
    assert found.order[:3] == ("below 18", "18 to below 40", "40 and above")


def test_images_that_the_table_lacks(tmp_path: Path) -> None:
    path = table(tmp_path, "image,group\nAnn/1.png,x\n")
    with pytest.raises(DataError, match=r"3 of the 4 images of the pairs are missing: Ann/2, Bo/1, Cy/1"):
        read_image_values(path, "group", judged([(0, 1), (2, 3)]))
    assert read_image_values(path, "group", judged([(0, 0)])).values == ("x",), "only what the pairs name is needed"


def test_tables_of_images_that_do_not_fit(tmp_path: Path) -> None:
    some = judged([(0, 1)])
    with pytest.raises(DataError, match="two values of 'group'"):
        read_image_values(table(tmp_path, "image,group\nAnn/1.png,x\nAnn/1,y\nAnn/2,x\n"), "group", some)
    with pytest.raises(DataError, match="lacks 'image'"):
        read_image_values(table(tmp_path, "file,group\nAnn/1.png,x\n"), "group", some)
    with pytest.raises(UsageError, match="Did you mean 'group'"):
        read_image_values(table(tmp_path, "image,group\nAnn/1.png,x\n"), "groups", some)
    without = JudgedPairs(some.pairs, some.same, some.folds, some.distances)
    with pytest.raises(UsageError, match="have no images"):
        read_image_values(table(tmp_path, "image,group\nAnn/1.png,x\n"), "group", without)
