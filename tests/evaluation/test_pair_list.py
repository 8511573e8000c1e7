from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.conversion.convert import convert
from facedistill.data.conversion.target import choose_target
from facedistill.data.folder import FolderDataset
from facedistill.data.open_dataset import open_dataset
from facedistill.data.verification_bin import write_bin
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.benchmark import Benchmark, load_bin_benchmark
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.evaluation.verification import evaluate_verification

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
    assert "10 of its 10 images are missing: Ann/Ann_0001, Ann/Ann_0002, Bo_B/Bo_B_0001, " in str(caught.value)
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
    with pytest.raises(UsageError, match="there is no such pair list"):
        load_pair_list(photos / "none.txt", photos)
    with pytest.raises(DataError, match="the pair list cannot be read"):
        load_pair_list(photos, photos)
    (photos / "list.txt").write_bytes(b"\xff\xfe1\x000\x00")
    with pytest.raises(DataError, match="no UTF-8 text"):
        load_pair_list(photos / "list.txt", photos)
    (photos / "list.txt").write_text(FOLDS_OF_TWO)
    with pytest.raises(UsageError, match="there are no such images"):
        load_pair_list(photos / "list.txt", photos / "elsewhere")


def converted(photos: Path, out: Path, form: str) -> Path:
    convert(FolderDataset(photos), choose_target(out, form))
    return out


@pytest.mark.parametrize("form", ["rec", "shards"])
def test_the_images_of_another_data_set(photos: Path, tmp_path: Path, form: str) -> None:
    wanted = load(photos, FOLDS_OF_TWO)
    path = tmp_path / "list.txt"
    out = converted(photos, tmp_path / "other", form)
    benchmark = load_pair_list(path, out)
    assert named(benchmark) == named(wanted)
    assert benchmark.same.tolist() == wanted.same.tolist()
    assert len(benchmark.dataset) == 10, "only the images of the list, each once"
    assert [benchmark.dataset.encoded(i) for i in range(10)] == [wanted.dataset.encoded(i) for i in range(10)]
    assert benchmark.dataset.image(0).tolist() == wanted.dataset.image(0).tolist()
    text = "path_a,path_b,same\n" + "\n".join(
        f"{a}/{a}_0001.{suffix},{b}/{b}_0002.png,{int(a == b)}"
        for a, b, suffix in [("Ann", "Ann", "png"), ("Ann", "Cy", "jpg"), ("Cy", "Cy", "webp"), ("Cy", "Di", "png")]
    )
    path.write_text(text)
    assert named(load_pair_list(path, out)) == named(load_pair_list(path, photos)), "whatever the suffix"


def test_a_list_over_an_open_data_set_and_over_several(photos: Path, tmp_path: Path) -> None:
    wanted = load(photos, FOLDS_OF_TWO)
    path = tmp_path / "list.txt"
    assert named(load_pair_list(path, FolderDataset(photos))) == named(wanted)
    assert named(load_pair_list(path, str(photos))) == named(wanted)
    second = tmp_path / "second"
    shutil.copytree(photos, second)
    rows = [f"photos/Ann/Ann_0001.png,second/{name}/{name}_0002.png,{int(name == 'Ann')}" for name in ("Ann", "Cy")] * 2
    path.write_text("\n".join(["path_a,path_b,same", *rows]))
    benchmark = load_pair_list(path, [photos, second])
    assert named(benchmark)[0] == ("photos/Ann/Ann_0001.png", "second/Ann/Ann_0002.png")
    assert len(benchmark.dataset) == 3


def test_flat_keys_and_the_first_of_equal_stems(photos: Path, tmp_path: Path) -> None:
    faces = flat_keys(photos)
    path = tmp_path / "pairs.txt"
    path.write_text("2\nAnn\t1\t2\nCy\t1\t2\nAnn\t1\tCy\t1\nAnn\t2\tCy\t2\n")
    assert named(load_pair_list(path, faces))[0] == ("Ann_0001.jpg", "Ann_0002.png")


def flat_keys(photos: Path) -> FolderDataset:
    """Keys without a folder, and two images of one stem."""

    class Flat(FolderDataset):
        def key(self, index: int) -> str:
            return super().key(index).rpartition("/")[2]

    (photos / "Ann" / "Ann_0001.jpg").write_bytes((photos / "Ann" / "Ann_0001.png").read_bytes())
    return Flat(photos)


def test_keys_that_are_missing_are_one_message(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(FOLDS_OF_TWO)
    out = converted(photos / "..", tmp_path / "deeper.rec", "rec")
    with pytest.raises(DataError) as caught:
        load_pair_list(tmp_path / "list.txt", out)
    assert "10 of its 10 images are missing: Ann/Ann_0001" in str(caught.value)
    assert "Looked for Ann/Ann_0001 among 16 images such as photos/Ann/Ann_0001.png" in str(caught.value)


def test_a_quoted_name_over_two_lines_and_no_csv_at_all(photos: Path) -> None:
    (photos / "Ann" / "two\nlines.png").write_bytes((photos / "Ann" / "Ann_0001.png").read_bytes())
    rows = [f'"Ann/two\nlines.png",{name}/{name}_0002.png,{int(name == "Ann")}' for name in ("Ann", "Cy")] * 2
    benchmark = load(photos, "\n".join(["path_a,path_b,same", *rows]), "list.csv")
    assert named(benchmark)[0] == ("Ann/two\nlines.png", "Ann/Ann_0002.png")
    with pytest.raises(DataError, match=r"it is no CSV \(field larger than"):
        load(photos, 'path_a,path_b,same\n"' + "x" * 200_000, "list.csv")


def test_a_folder_is_not_listed_as_a_whole(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from facedistill.data import folder as folder_module

    def refuse(*_: object) -> None:
        raise AssertionError("the whole tree is read")

    monkeypatch.setattr(folder_module, "image_names", refuse)
    assert len(load(photos, FOLDS_OF_TWO).dataset) == 10


def test_a_pair_set_and_the_folder_made_of_it_give_the_same_figures(
    photos: Path, tmp_path: Path, color_embedder: type
) -> None:
    rng = np.random.default_rng(0)
    files = [path.read_bytes() for path in sorted(photos.rglob("*.png"))]
    encoded, same = [], []
    for _ in range(60):
        first, second = rng.choice(16, 2, replace=False)
        encoded += [files[first], files[second]]
        # Every tenth flag is wrong, so that the accuracy is no plain 1.
        same.append(bool((first // 4 == second // 4) ^ (rng.random() < 0.1)))
    write_bin(tmp_path / "set.bin", encoded, same)
    convert(open_dataset(tmp_path / "set.bin"), choose_target(tmp_path / "out"))
    ours = evaluate_verification(color_embedder(), load_pair_list(tmp_path / "out" / "pairs.csv", tmp_path / "out"))
    theirs = evaluate_verification(color_embedder(), load_bin_benchmark(tmp_path / "set.bin"))
    assert 0.5 < ours.accuracy < 1
    assert ours.folds == theirs.folds
    assert ours.thresholds == theirs.thresholds
