from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facedistill_cli.app import main

from facedistill.data.verification_bin import write_bin

from ..made_ijb import make_ijb

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`facedistill eval` with these arguments; gives the exit status."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["facedistill", "eval", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0)

    return call


@pytest.fixture
def model(color_model: Callable[[int], Path]) -> Path:
    return color_model(8)


def crop(color: tuple[int, int, int]) -> bytes:
    return cv2.imencode(".png", np.full((8, 8, 3), color, dtype=np.uint8))[1].tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people with six photos each."""
    for name, color in (("Ann", (250, 90, 90)), ("Cy", (90, 90, 250))):
        (tmp_path / "crops" / name).mkdir(parents=True)
        for number in range(1, 7):
            shade = (color[0] - number, color[1], color[2])
            (tmp_path / "crops" / name / f"{name}_{number:04d}.png").write_bytes(crop(shade))
    return tmp_path / "crops"


@pytest.fixture
def pairs(folder: Path) -> Path:
    matched = [f"{name}\t{number}\t{number + 1}" for name in ("Ann", "Cy") for number in range(1, 6)]
    mismatched = [f"Ann\t{number}\tCy\t{other}" for number in range(1, 6) for other in (1, 2)]
    path = folder.parent / "pairs.txt"
    path.write_text("\n".join(["10", *matched, *mismatched]))
    return path


@pytest.fixture
def ijb(tmp_path: Path) -> Path:
    return make_ijb(tmp_path / "IJBC")


@pytest.fixture
def embed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a cache of the folder with these arguments, beside it."""

    def call(*arguments: object) -> None:
        words = ["facedistill", "embed", folder, "-o", folder.parent / "cache", *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code

    return call


def test_a_pair_list_and_a_bin_file(
    run: Run, model: Path, pairs: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bin_file = tmp_path / "set.bin"
    write_bin(bin_file, [crop((9, 9, 200)), crop((9, 9, 220)), crop((9, 9, 200)), crop((200, 9, 9))] * 10, [1, 0] * 10)
    out, plot = tmp_path / "new" / "figures.json", tmp_path / "roc.png"
    status = run(
        model, "--pairs", pairs, "--images", folder, "--bin", bin_file, "--color", "rgb", "--mean", 127.5,
        "--std", 128, "--json", out, "--plot", plot,
    )  # fmt: skip
    assert status == 0
    values = json.loads(out.read_text())
    assert values["model"] == str(model)
    assert values["preprocessing"]["std"] == 128.0
    first, second = values["benchmarks"]
    assert (first["name"], first["pairs"], first["accuracy"], first["accuracy_std"]) == ("pairs", 20, 1.0, 0.0)
    assert first["folds"] == [1.0] * 10
    assert first["tar_at_far"] == {"1e-1": 1.0, "1e-2": None, "1e-3": None, "1e-4": None}
    assert set(first["thresholds"]) == {"accuracy", "1e-1"}
    assert (second["name"], second["fold_scheme"]) == ("set", "10 contiguous folds")
    assert plot.stat().st_size > 1000
    printed = capsys.readouterr()
    assert "100.00 ± 0.00" in printed.out
    assert "pairs: FAR 1e-2 unresolvable: needs 100 impostor pairs" in printed.out
    assert "no preprocessing metadata" not in printed.err, "everything was given"


def test_one_folder_serves_several_lists(run: Run, model: Path, pairs: Path, folder: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.csv"
    second.write_text(
        "path_a,path_b,same\n"
        + "".join(f"Ann/Ann_000{n}.png,{other}_000{n + 1}.png,{flag}\n"
                  for n in (1, 2, 3) for other, flag in (("Ann/Ann", "same"), ("Cy/Cy", "different")))
    )  # fmt: skip
    assert run(model, "--pairs", pairs, "--pairs", second, "--images", folder, "--json", tmp_path / "o.json") == 0
    names = [benchmark["name"] for benchmark in json.loads((tmp_path / "o.json").read_text())["benchmarks"]]
    assert names == ["pairs", "second"]


def test_all_pairs_of_a_folder(
    run: Run, model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people.txt").write_text("Ann\t6\nCy\t6\n")
    assert (
        run(model, "--all-pairs", folder, "--identities", tmp_path / "people.txt", "--json", tmp_path / "o.json") == 0
    )
    values = json.loads((tmp_path / "o.json").read_text())
    assert values["benchmarks"] == []
    (result,) = values["all_pairs"]
    assert (result["name"], result["genuine"], result["impostor"]) == ("crops, people", 30, 36)
    assert "crops, people: FAR 1e-5 unresolvable: needs 100,000 impostor pairs" in capsys.readouterr().out


def test_a_cache_and_a_suite(
    run: Run, embed: Callable[..., None], model: Path, pairs: Path, folder: Path, tmp_path: Path
) -> None:
    """Figures of a cache are the model's, and no model is opened for them."""
    (tmp_path / "suite.yaml").write_text(
        f"benchmarks: [{{pairs: {pairs.name}, images: {folder.name}, name: own}}, {{all-pairs: {folder.name}}}]"
    )
    described = ["--color", "rgb", "--mean", 127.5, "--std", 128]
    suite = ["--suite", tmp_path / "suite.yaml", "--resamples", 20]
    assert run(model, *described, *suite, "--json", tmp_path / "model.json") == 0
    embed("--model", model, *described)
    model.unlink()
    assert run(tmp_path / "cache", *suite, "--json", tmp_path / "cache.json") == 0
    of_model, of_cache = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("model", "cache"))
    assert of_cache["model_sha256"] == of_model["model_sha256"]
    assert of_cache["preprocessing"] == of_model["preprocessing"]
    for kind in ("benchmarks", "all_pairs"):
        (one,), (other,) = of_model[kind], of_cache[kind]
        assert other["tar_at_far"] == one["tar_at_far"]
        assert other["name"] == one["name"]
    assert of_cache["benchmarks"][0]["name"] == "own"
    assert list(of_cache["all_pairs"][0]["intervals"]) == ["1e-2", "1e-3", "1e-4", "1e-5"]


def test_a_cache_that_is_of_something_else(
    run: Run,
    embed: Callable[..., None],
    model: Path,
    pairs: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    embed("--model", model)
    assert run(tmp_path / "cache", "--pairs", pairs, "--images", folder, "--std", 128) == 2
    assert "carries the preprocessing that it was made with" in capsys.readouterr().err
    changed = folder / "Ann" / "Ann_0001.png"
    changed.write_bytes(crop((1, 2, 3)))
    assert run(tmp_path / "cache", "--pairs", pairs, "--images", folder) == 1
    assert "made of other images of the same names" in capsys.readouterr().err
    changed.rename(folder / "Ann" / "Ann_0007.png")
    changed.with_suffix(".jpg").write_bytes(crop((1, 2, 3)))
    assert run(tmp_path / "cache", "--pairs", pairs, "--images", folder) == 1
    assert "the cache lacks 1 of 12 images, the first of them 'Ann/Ann_0001.jpg'" in capsys.readouterr().err


def test_assumptions_and_warnings_go_to_standard_error(
    run: Run, model: Path, pairs: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = pairs.read_text().splitlines()
    flags = [(line.split("\t"), index >= 10) for index, line in enumerate(lines[1:])]
    rows = [
        f"{w[0]}/{w[0]}_000{w[1]}.png,{w[0]}/{w[0]}_000{w[2]}.png,0" if not late
        else f"{w[0]}/{w[0]}_000{w[1]}.png,{w[2]}/{w[2]}_000{w[3]}.png,1"
        for w, late in flags
    ]  # fmt: skip
    inverted = pairs.with_suffix(".csv")
    inverted.write_text("\n".join(["path_a,path_b,same", *rows]))
    assert run(model, "--pairs", inverted, "--images", folder, "--quiet") == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "the flags look inverted" in printed.err
    assert "assuming 8x8 RGB" in printed.err


def test_everything_that_can_be_written(run: Run, model: Path, pairs: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = [out / name for name in ("t.md", "t.tex", "t.csv")]
    words = [word for file in files for word in ("--table", file)]
    words += ["--report", out / "r.html", "--pictures", out / "pictures", "--plot", out / "roc.pdf"]
    assert run(model, "--pairs", pairs, "--images", folder, "--all-pairs", folder, "--resamples", 20, *words) == 0
    assert files[0].read_text().startswith("| benchmark | pairs | accuracy | EER | AUC |")
    assert r"\begin{tabular}" in files[1].read_text()
    assert "benchmarks" not in files[2].read_text().splitlines()[0]
    assert "<h1>Face verification</h1>" in (out / "r.html").read_text()
    assert {"roc.svg", "roc.png", "det.svg", "folds.png", "pairs-scores.svg"} <= {
        path.name for path in (out / "pictures").iterdir()
    }
    assert (out / "roc.pdf").read_bytes().startswith(b"%PDF")


def test_slices_of_a_column(
    run: Run, model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["path_a,path_b,same,view"]
    for name, other in (("Ann", "Cy"), ("Cy", "Ann")):
        for number in range(1, 6):
            view = "profile" if number > 3 else "frontal"
            rows.append(f"{name}/{name}_{number:04d}.png,{name}/{name}_{number + 1:04d}.png,1,{view}")
            rows.append(f"{name}/{name}_{number:04d}.png,{other}/{other}_{number + 1:04d}.png,0,{view}")
    (tmp_path / "own.csv").write_text("\n".join(rows))
    words = ["--pairs", tmp_path / "own.csv", "--images", folder, "--resamples", 0, "--json", tmp_path / "r.json"]
    assert run(model, *words, "--slice-by", "view") == 0
    (sliced,) = json.loads((tmp_path / "r.json").read_text())["slices"]
    assert [(found["name"], found["genuine"]) for found in sliced["slices"]] == [("frontal", 6), ("profile", 4)]
    (tmp_path / "who.csv").write_text(
        "image,who\n" + "\n".join(f"{p.parent.name}/{p.name},{p.parent.name}" for p in sorted(folder.rglob("*.png")))
    )
    assert run(model, *words, "--slice-by", "who", "--slice-table", tmp_path / "who.csv") == 0
    (sliced,) = json.loads((tmp_path / "r.json").read_text())["slices"]
    assert [found["name"] for found in sliced["slices"]] == ["Ann", "Cy", "Ann / Cy"]
    model.unlink()
    assert run(model, *words, "--slice-by", "veiw") == 2
    assert "Did you mean 'view'?" in " ".join(capsys.readouterr().err.split()), "told before the model is opened"


def test_people_who_were_trained_on(
    run: Run, model: Path, pairs: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").write_text("Cy\nDi\n")
    words = ["--pairs", pairs, "--images", folder, "--all-pairs", folder, "--resamples", 0]
    assert run(model, *words, "--trained-on", tmp_path / "train.txt") == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "pairs: 1 of its 2 people is in the training data (Cy): the figures flatter the model" in printed
    assert "crops: 1 of its 2 people is in the training data" in printed


def test_ijb(run: Run, model: Path, ijb: Path, embed: Callable[..., None], tmp_path: Path) -> None:
    assert run(model, "--ijb", ijb, "--json", tmp_path / "r.json") == 0
    (result,) = json.loads((tmp_path / "r.json").read_text())["ijb"]
    assert (result["flip"], result["keep_norm"], result["detector_score"]) == (True, True, True)
    assert result["identification"]["galleries"]
    assert run(model, "--ijb", ijb, "--ijb-without", "norm", "--json", tmp_path / "r.json") == 0
    (result,) = json.loads((tmp_path / "r.json").read_text())["ijb"]
    assert result["keep_norm"] is False
    embed("--model", model)
    assert run(tmp_path / "cache", "--ijb", ijb) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to evaluate on"),
        (["--pairs", "a.txt"], "there are 1 --pairs and 0 --images"),
        (["--images", "a"], "--images is given without --pairs"),
        (
            ["--pairs", "a", "--pairs", "b", "--pairs", "c", "--images", "x", "--images", "y"],
            "3 --pairs and 2 --images",
        ),
        (["--bin", "a.bin", "--identities", "people.txt"], "--identities is given without --all-pairs"),
        (["--all-pairs", "crops", "--plot", "a.png"], "--plot and --pictures draw the pairs of --pairs and --bin"),
        (["--bin", "a.bin", "--plot", "a.foo"], "a plot cannot be written as '.foo'"),
        (["--bin", "a.bin", "--table", "a.txt"], "a table cannot be written as '.txt'"),
        (["--bin", "a.bin", "--report", "a.pdf"], "a page cannot be written as '.pdf'"),
        (["--bin", "a.bin", "--resamples", "1"], "one resample makes no interval"),
        (["--bin", "a.bin", "--slice-by", "age"], "--slice-by is for the pairs of --pairs"),
        (["--bin", "a.bin", "--slice-table", "a.csv"], "--slice-table is given without --slice-by"),
        (["--ijb", "IJBC", "--ijb-without", "flp"], "no part of the descriptor called 'flp'. Did you mean 'flip'?"),
        (["--bin", "a.bin", "--batch-size", "0"], "batch-size"),
    ],
)
def test_wrong_calls(
    run: Run, model: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_failed_work(run: Run, model: Path, pairs: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--bin", folder / "none.bin") == 1
    assert "none.bin: the file cannot be read" in " ".join(capsys.readouterr().err.split())
    assert run(folder / "none.onnx", "--pairs", pairs, "--images", folder) == 1
    assert "there is no such model" in " ".join(capsys.readouterr().err.split())
    assert run(model, "--pairs", pairs, "--images", folder.parent) == 1
    assert "--images may point to the wrong folder" in " ".join(capsys.readouterr().err.split())
