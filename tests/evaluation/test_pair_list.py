from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from facedistill.errors import DataError
from facedistill.evaluation.benchmark import Benchmark
from facedistill.evaluation.pair_list import load_pair_list

FOLDS_OF_TWO = """2\t2
Ann\t1\t2
Bo_B\t1\t4
Ann\t1\tBo_B\t2
Cy\t3\tDi\t1
Cy\t1\t2
Di\t1\t2
Ann\t1\tDi\t2
Cy\t3\tBo_B\t1
"""


def load(folder: Path, text: str, name: str = "list.txt") -> Benchmark:
    path = folder.parent / name
    path.write_text(text, encoding="utf-8")
    return load_pair_list(path, folder)


def named(benchmark: Benchmark) -> list[tuple[str, str]]:
    return [(benchmark.dataset.key(int(a)), benchmark.dataset.key(int(b))) for a, b in benchmark.pairs]


def test_lfw_format_with_folds(photos: Path) -> None:
    benchmark = load(photos, FOLDS_OF_TWO)
    assert named(benchmark)[:4] == [
        ("Ann/Ann_0001.png", "Ann/Ann_0002.png"),
        ("Bo_B/Bo_B_0001.png", "Bo_B/Bo_B_0004.png"),
        ("Ann/Ann_0001.png", "Bo_B/Bo_B_0002.png"),
        ("Cy/Cy_0003.png", "Di/Di_0001.png"),
    ]
    assert benchmark.same.tolist() == [True, True, False, False] * 2
    assert benchmark.folds.tolist() == [0] * 4 + [1] * 4
    assert benchmark.fold_scheme == "the list's own 2 folds"
    assert len(benchmark.dataset) == 10, "an image of several pairs is one image"
    assert benchmark.name == "list"
    assert benchmark.source_sha256 == hashlib.sha256(FOLDS_OF_TWO.encode()).hexdigest()
    assert benchmark.dataset.image(0)[0, 0].tolist() == [255, 100, 99]


def test_a_single_set_gets_stratified_folds(photos: Path) -> None:
    benchmark = load(photos, "2\nAnn\t1\t2\nCy\t1\t3\nAnn\t1\tCy\t1\nBo_B\t1\tDi\t1\n")
    assert benchmark.same.tolist() == [True, True, False, False]
    assert benchmark.folds.tolist() == [0, 1, 0, 1]
    assert benchmark.fold_scheme == "2 stratified folds"


def test_spaces_blank_lines_windows_ends_and_a_byte_order_mark(photos: Path) -> None:
    text = FOLDS_OF_TWO.replace("\t", " ").replace("\n", "\r\n") + "\r\n"
    path = photos.parent / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert named(load_pair_list(path, photos)) == named(load(photos, FOLDS_OF_TWO, "plain.txt"))


def test_another_suffix_and_a_flat_folder(photos: Path) -> None:
    (photos / "Ann" / "Ann_0001.png").rename(photos / "Ann" / "Ann_0001.JPG")
    (photos / "Cy" / "Cy_0003.png").rename(photos / "Cy_0003.webp")
    keys = {key for pair in named(load(photos, FOLDS_OF_TWO)) for key in pair}
    assert {"Ann/Ann_0001.JPG", "Cy_0003.webp", "Cy/Cy_0001.png"} <= keys


def test_csv(photos: Path) -> None:
    text = (
        "path_a,path_b,same,fold\n"
        "Ann/Ann_0001.png,Ann/Ann_0002.png,1,10\n"
        "Ann/Ann_0001.png,./Bo_B/Bo_B_0001.png,false,10\n"
        "Cy\\Cy_0001.png,Cy/Cy_0002.jpg,Same,9\n"
        '"Cy/Cy_0001.png", Di/Di_0002.png,different,9\n'
    )
    benchmark = load(photos, text, "pairs.csv")
    assert named(benchmark) == [
        ("Ann/Ann_0001.png", "Ann/Ann_0002.png"),
        ("Ann/Ann_0001.png", "Bo_B/Bo_B_0001.png"),
        ("Cy/Cy_0001.png", "Cy/Cy_0002.png"),
        ("Cy/Cy_0001.png", "Di/Di_0002.png"),
    ]
    assert benchmark.same.tolist() == [True, False, True, False]
    assert benchmark.folds.tolist() == [1, 1, 0, 0], "folds are ordered as numbers, 9 before 10"
    assert benchmark.fold_scheme == "the list's own 2 folds"


def test_csv_without_folds_in_another_column_order(photos: Path) -> None:
    rows = [f"{int(a == b)},{a}/{a}_0001.png,{b}/{b}_0002.png" for a in ("Ann", "Cy") for b in ("Cy", "Ann")]
    benchmark = load(photos, "\n".join(["same,path_a,path_b", *rows]), "pairs.csv")
    assert benchmark.same.tolist() == [False, True, True, False]
    assert benchmark.folds.tolist() == [0, 0, 1, 1]
    assert benchmark.fold_scheme == "2 stratified folds"


def test_a_csv_path_is_not_looked_for_in_another_folder(photos: Path) -> None:
    (photos / "1.png").write_bytes((photos / "Ann" / "Ann_0001.png").read_bytes())
    with pytest.raises(DataError, match=r"2 of its 4 images are missing: Ann/1\.png, Cy/1\.png"):
        load(
            photos,
            "path_a,path_b,same\nAnn/1.png,Ann/Ann_0002.png,1\nCy/1.png,Ann/Ann_0003.png,0\n",
        )


def test_missing_images_are_one_message(photos: Path) -> None:
    for number in (1, 2):
        (photos / "Ann" / f"Ann_{number:04d}.png").unlink()
    with pytest.raises(DataError) as caught:
        load(photos, FOLDS_OF_TWO)
    assert "2 of its 10 images are missing: Ann/Ann_0001, Ann/Ann_0002" in str(caught.value)
    assert f"Looked in {photos} for Ann/Ann_0001 with .bmp, .gif, .jp2, .jpeg, .jpg" in str(caught.value)
    assert "--images" not in str(caught.value)


def test_when_all_images_are_missing_the_folder_is_doubted(photos: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(photos / "Di", FOLDS_OF_TWO.replace("Di", "Dora"))
    assert "10 of its 10 images are missing: Ann/Ann_0001, Ann/Ann_0002, Bo_B/Bo_B_0001, ..." in str(caught.value)
    assert "None is there: --images may point to the wrong folder" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        (1, "3\t2", ":1: the header announces 3 x 2 x 2 pairs and 8 lines follow"),
        (1, "0\t2", ":1: the header announces 0 x 2 x 2 pairs"),
        (2, "Ann\t1\tBo_B\t2", ":2: a matched pair 'name i j' is due here, and the line has 4 fields"),
        (4, "Ann\t1\t2", ":4: a mismatched pair 'name1 i name2 j' is due here, and the line has 3 fields"),
        (2, "Ann\tone\t2", ":2: a matched pair 'name i j' is due here, and 'one', '2' are no image numbers"),
        (5, "Cy\t3\tDi\t-1", ":5: a mismatched pair .* '3', '-1' are no image numbers"),
        (5, "Cy\t3\tCy\t1", ":5: a mismatched pair is due here, and both images are of 'Cy'"),
        (1, "pairs", "first line is no header of a pair list"),
        (1, "1\t2\t3", "first line is no header of a pair list"),
    ],
)
def test_a_malformed_line_is_named(photos: Path, line: int, replacement: str, message: str) -> None:
    lines = FOLDS_OF_TWO.splitlines()
    lines[line - 1] = replacement
    with pytest.raises(DataError, match=message) as caught:
        load(photos, "\n".join(lines))
    assert "list.txt" in str(caught.value.place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path_a,path_b\nx,y\n", ":1: the header row lacks same"),
        ("a,b,same\nx,y,1\n", ":1: the header row lacks path_a, path_b"),
        ("path_a,path_b,same\nx,y,1\nx,y,maybe\n", ":3: the flag is 'maybe'. Use one of 1, true, same, 0"),
        ("path_a,path_b,same\nx,y,\n", ":2: the flag is ''"),
        ("path_a,path_b,same\nx,y\n", ":2: the line has not the header's 3 fields"),
        ("path_a,path_b,same\nx,y,1,4\n", ":2: the line has not the header's 3 fields"),
        ("path_a,path_b,same\nx,,1\n", ":2: a path is empty"),
        ("path_a,path_b,same,fold\nx,y,1,\n", ":2: the fold is empty"),
        ("path_a,path_b,same\n", "0 genuine and 0 impostor"),
        ("", "the pair list is empty"),
        ("\n\n", "the pair list is empty"),
    ],
)
def test_a_malformed_csv(photos: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(photos, text, "list.csv")


def test_too_few_pairs_of_a_class(photos: Path) -> None:
    with pytest.raises(DataError, match=r"list\.txt: 1 genuine and 1 impostor pairs cannot be cut into folds"):
        load(photos, "1\nAnn\t1\t2\nAnn\t1\tCy\t1\n")


def test_folds_of_which_one_holds_a_whole_class(photos: Path) -> None:
    a, b, c = "Ann/Ann_0001.png", "Ann/Ann_0002.png", "Cy/Cy_0001.png"
    with pytest.raises(DataError, match="one fold holds every genuine or every impostor pair"):
        load(photos, f"path_a,path_b,same,fold\n{a},{b},1,0\n{b},{a},1,0\n{a},{c},0,1\n{b},{c},0,1\n")


def test_files_that_cannot_be_read(photos: Path) -> None:
    with pytest.raises(DataError, match="the pair list cannot be read"):
        load_pair_list(photos / "none.txt", photos)
    (photos / "list.txt").write_bytes(b"\xff\xfe1\x000\x00")
    with pytest.raises(DataError, match="no UTF-8 text"):
        load_pair_list(photos / "list.txt", photos)
    (photos / "list.txt").write_text(FOLDS_OF_TWO)
    with pytest.raises(DataError, match="no such folder of images"):
        load_pair_list(photos / "list.txt", photos / "elsewhere")
