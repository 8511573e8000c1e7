from __future__ import annotations

import csv
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from facedistill.errors import DataError, UsageError
from facedistill.evaluation.all_pairs import all_pairs
from facedistill.training.distill_options import DistillOptions
from facedistill.training.options import select_options

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "lfw_study"
RESULTS = ("results.json", "results.csv", "results.md", "results.png")

SMALL: dict[str, Any] = {"batch_size": 16, "warmup_epochs": 0}
NETWORK = {"model": "tinyfacenet", "embedding_size": 16, "input_size": 32, "scale": 16, "margin": 0.1, **SMALL}
TINY = {
    "made-up": {
        "data": {
            "teacher": "made-up:12x4,size=32",
            "train": "made-up:8x4,size=32,first=50",
            "test": "made-up:12x4,size=32,first=90",
        },
        "pairs": {"pairs": 6, "folds": 3},
        "teacher": {**NETWORK, "epochs": 2},
        "start": {**NETWORK, "width": 0.5, "epochs": 1},
        "distill": {**SMALL, "epochs": 1, "lr": 0.01},
    },
    "methods": {
        "undistilled": {"method": "margin-softmax", "teacher": "none"},
        "cosine": {"method": "cosine", "plus": ["margin-softmax:0.5"]},
    },
}


@pytest.fixture(scope="module")
def study() -> Iterator[SimpleNamespace]:
    """The example's modules, which import one another as a script's neighbours."""
    names = ("study", "plan", "checks", "steps", "recipes", "words", "finished", "report", "kept", "plot")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield SimpleNamespace(**{name: __import__(name) for name in names})


class Tiny(SimpleNamespace):
    """A study that was interrupted in the third of its four runs and then gone on with."""

    folder: Path
    arguments: list[str]
    before: list[str]
    after: list[str]
    status: list[int]


@pytest.fixture(scope="module")
def tiny(study: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("study")
    (folder / "recipes.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    arguments = [str(folder / "s"), "--recipes", str(folder / "recipes.yaml"), "--seeds", "0,1", "--device", "cpu"]
    arguments += ["--resamples", "50", "--quiet"]
    found = Tiny(folder=folder / "s", arguments=arguments, before=[], after=[], status=[])
    real = study.steps.run

    def run(words: list[str]) -> None:
        done = found.before if not found.status else found.after
        done.append(what(words))
        if not found.status and what(words) == "undistilled/seed-1":
            raise KeyboardInterrupt
        real(words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.steps, "run", run)
        patch.setattr(study.study, "run", run)
        for _ in range(2):
            found.status.append(study.study.main(arguments))
    return found


def what(words: list[str]) -> str:
    """Which run a command is, or its name."""
    if words[0] not in ("distill", "train-teacher"):
        return words[0]
    return "/".join(Path(words[words.index("--out") + 1]).parts[-2:])


def test_an_interrupted_study_does_what_is_left(tiny: Tiny) -> None:
    assert tiny.status == [130, 0]
    starts = ["start/seed-0", "undistilled/seed-0", "cosine/seed-0", "start/seed-1", "undistilled/seed-1"]
    assert tiny.before[4:] == ["s/teacher", "embed", *starts]
    assert tiny.after == ["undistilled/seed-1", "cosine/seed-1"]


def test_its_tables(tiny: Tiny) -> None:
    result = json.loads((tiny.folder / "results.json").read_text())
    assert [method["name"] for method in result["methods"]] == ["teacher", "undistilled", "cosine"]
    cosine = result["methods"][2]
    assert [run["seed"] for run in cosine["runs"]] == [0, 1]
    assert all(0 < run["hours"] < 0.1 for run in cosine["runs"])
    assert cosine["runs"][0]["parameters"] > 1000
    assert len(cosine["accuracy_by_seed"]) == 2
    assert len(cosine["above"]["undistilled"]["1e-2"]["by_seed"]) == 2
    assert cosine["tar"]["1e-5"] is None
    assert (result["photos"], result["people"], result["pairs"]) == (48, 12, 36)
    with (tiny.folder / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["tar"]) == pytest.approx(result["methods"][0]["tar"]["1e-2"]["estimate"], abs=1e-5)
    markdown = (tiny.folder / "results.md").read_text()
    assert "| cosine | 2 | " in markdown
    assert cosine["runs"][0]["command"] in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("facedistill ")]
    runs = [f"{name}/seed-{seed}" for seed in (0, 1) for name in ("start", "cosine", "undistilled")]
    assert [what(shlex.split(line)[1:]) for line in lines] == [*tiny.before[:6], *runs]
    assert sum(line.startswith("facedistill ") for line in markdown.splitlines()) == 4 + 2 + 2 + 4


def test_nothing_is_done_again(tiny: Tiny, study: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was done before")

    monkeypatch.setattr(study.steps, "run", refuse)
    monkeypatch.setattr(study.study, "run", refuse)
    monkeypatch.setattr(study.study, "embed_test_set", refuse)
    before = [(tiny.folder / name).read_bytes() for name in RESULTS]
    assert study.study.main(tiny.arguments) == 0
    assert [(tiny.folder / name).read_bytes() for name in RESULTS] == before


def test_the_tables_are_made_again_without_any_model(tiny: Tiny, study: SimpleNamespace, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny.folder, copy, ignore=shutil.ignore_patterns("runs", "faces", "teacher*", *RESULTS))
    shutil.copy(tiny.folder / "embeddings" / "teacher.npy", copy / "embeddings")
    for file in (tiny.folder / "commands").glob("teacher*"):
        shutil.copy(file, copy / "commands")
    assert study.study.main([str(copy), "--report", "--resamples", "50"]) == 0
    for name in RESULTS:
        assert (copy / name).read_bytes() == (tiny.folder / name).read_bytes()


def test_the_recorded_command_makes_the_run(tiny: Tiny, study: SimpleNamespace) -> None:
    """It is given to the command line as it stands, and finds the run that it made finished."""
    content = json.loads((tiny.folder / "commands" / "cosine-seed-0.json").read_text())
    weights = tiny.folder / "runs" / "cosine" / "seed-0" / "last" / "backbone.safetensors"
    before = load_file(weights)
    written = weights.stat().st_mtime_ns
    words = shlex.split(content["command"])
    assert words[0] == "facedistill"
    study.steps.run(words[1:])
    assert weights.stat().st_mtime_ns == written
    shutil.rmtree(weights.parents[1])
    study.steps.run(words[1:])
    again = load_file(weights)
    assert all(torch.equal(again[name], tensor) for name, tensor in before.items()), "it makes the same weights anew"


def test_a_changed_recipe_is_no_finished_run(
    tiny: Tiny, study: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = json.loads(json.dumps(TINY))
    changed["methods"]["cosine"]["lr"] = 0.02
    (tmp_path / "recipes.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    assert study.study.main([*tiny.arguments, "--recipes", str(tmp_path / "recipes.yaml")]) == 2
    assert "Give the recipe another name" in capsys.readouterr().err


def test_what_is_wrong_with_a_recipe_is_said_before_anything_runs(
    study: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**TINY, "methods": {"typo": {"method": "cosine", "epoch": 3}}}
    (tmp_path / "recipes.yaml").write_text(yaml.safe_dump(wrong))
    arguments = [str(tmp_path / "s"), "--recipes", str(tmp_path / "recipes.yaml")]
    assert study.study.main(arguments) == 2
    assert "No such option" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    assert study.study.main([*arguments, "--methods", "typa"]) == 2
    assert "Did you mean 'typo'?" in capsys.readouterr().err


def test_a_method_that_fails_does_not_stop_the_others(
    tiny: Tiny,
    study: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny.folder, copy)
    for file in (copy / "commands").glob("*.json"):
        file.write_text(file.read_text().replace(str(tiny.folder), str(copy)))
    for name in ("undistilled-seed-0", "cosine-seed-1"):
        (copy / "commands" / f"{name}.json").unlink()

    ran: list[str] = []

    def run(words: list[str]) -> None:
        if what(words) == "undistilled/seed-0":
            raise study.steps.StepFailedError("no luck")
        ran.append(what(words))

    monkeypatch.setattr(study.study, "run", run)
    assert study.study.main([str(copy), *tiny.arguments[1:]]) == 1
    assert ran == ["cosine/seed-1"]
    assert "failed: no luck" in capsys.readouterr().err
    result = json.loads((copy / "results.json").read_text())
    # What is there is compared over the seed that both have.
    assert len(result["methods"][2]["above"]["undistilled"]["1e-2"]["by_seed"]) == 1


def test_a_command_that_fails(study: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(study.steps.StepFailedError, match="ended with status 1"):
        study.steps.run(["embed", "nowhere", "--model", "nowhere.onnx", "-o", "cache"])
    with pytest.raises(study.steps.StepFailedError, match="ended with status 2"):
        study.steps.run(["embed", "--nonsense"])
    assert "--nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["made-up", "lfw"])
def test_the_recipes_that_come_with_it(kind: str, study: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    lfw = ["--lfw", "photos", "--protocol", "lists", "--teacher", "t.onnx", "--teacher-std", "128"]
    assert study.study.main(["s", "--plan", "--seeds", "4", *(lfw if kind == "lfw" else [])]) == 0
    commands = capsys.readouterr().out.splitlines()
    recipes = study.recipes.read_recipes(FOLDER / "recipes.yaml", kind).methods
    assert len([line for line in commands if line.startswith("facedistill distill ")]) == len(recipes)
    for recipe in recipes.values():  # names of methods, weights, and options of theirs
        assert select_options(DistillOptions, recipe.options).terms
    assert {"undistilled", "triplet", "triplet-distillation", "rkd", "ekd", "gkd", "similarity"} <= set(recipes)
    if kind == "lfw":
        assert commands[0] == "facedistill align photos s/crops --detector mtcnn"
        assert "--identities lists/peopleDevTrain.txt --model t.onnx --std 128.0 -o s/teacher-cache" in commands[1]
        assert all("peopleDevTest" not in line for line in commands), "test people would be trained on"


def test_the_real_study_needs_its_files(study: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.study.main(["s", "--lfw", "photos", "--teacher", "t.onnx"]) == 2
    assert "--protocol: the real study needs it" in capsys.readouterr().err


def test_what_a_recipe_can_say(study: SimpleNamespace, tmp_path: Path) -> None:
    content = {
        "lfw": {"distill": {"lr": 0.1, "epochs": 4}, "start": {"model": "mobilefacenet", "width": 0.25, "head": "x"}},
        "methods": {
            "a": {
                "method": "cosine",
                "teacher": "live",
                "start": False,
                "lfw": {"epochs": 9},
                "made-up": {"epochs": 1},
            },
            "b": {"method": "triplet", "teacher": "none", "start": "a"},
        },
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    recipe = study.recipes.read_recipes(tmp_path / "r.yaml", "lfw").methods["a"]
    assert recipe == study.recipes.Recipe("a", {"lr": 0.1, "epochs": 9, "method": "cosine"}, "live", start=None)
    arguments = ["s", "--crops", "c", "--protocol", "p", "--teacher", "t.onnx", "--teacher-color", "bgr"]
    given = study.study.parse([*arguments, "--recipes", str(tmp_path / "r.yaml")])
    plan, preparation = study.plan.plan_data(given)
    assert [step.name for step in preparation] == ["teacher-cache"], "crops that are there need not be made"
    assert study.plan.method_step(plan, recipe, 3).command == (
        "facedistill distill c --identities p/peopleDevTrain.txt --teacher t.onnx --teacher-color bgr "
        "--student mobilefacenet --width 0.25 --out s/runs/a/seed-3 --seed 3 --resume auto "
        "--epochs 9 --lr 0.1 --method cosine"
    )
    going_on = study.recipes.read_recipes(tmp_path / "r.yaml", "lfw").methods["b"]
    assert "--init s/runs/a/seed-3 --out s/runs/b/seed-3" in study.plan.method_step(plan, going_on, 3).command
    with pytest.raises(UsageError, match="b starts from a, which is not trained with seed 3 yet"):
        study.checks.check_all(plan, [], [going_on], [3])


def test_options_as_words(study: SimpleNamespace) -> None:
    options = {"batch_size": 8, "plus": ["a:1", "b:2"], "mirror": False, "nesterov": True}
    expected = "--batch-size 8 --plus a:1 --plus b:2 --no-mirror --nesterov"
    assert study.words.words_of(options, "distill") == expected.split()


def test_options_as_words_mean_what_a_config_file_of_them_means(study: SimpleNamespace, tmp_path: Path) -> None:
    options = {
        "set": {"head": "cosface", "scale": None, "hard": True},
        "plus": "margin-softmax:1",
        "compile": False,
        "overwrite": True,
        "workers": None,
        "milestones": [8, 14.5],
        "cache": "off",
        "logger": ["wandb", "mlflow"],
        "mirror": False,
    }
    words = study.words.words_of(options, "distill")
    expected = "--set head=cosface --set scale=null --set hard=true --plus margin-softmax:1 --overwrite "
    assert shlex.join(words) == (
        expected + "--milestones 8,14.5 --cache off --logger wandb --logger mlflow --no-mirror"
    )
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(options))
    run = ["distill", "crops", "--out", "run"]
    given = study.words.understand([*run, *words])
    read = study.words.understand([*run, "--config", str(tmp_path / "c.yaml")])
    # The file's null and true may be written as Python writes them.
    assert {name for name in given if given[name] != read[name]} <= {"config", "set_option"}
    assert given["milestones"] == (8, 14.5)
    # What the command does not have is for it to refuse.
    assert study.words.words_of({"epoch": 3, "nonsense": False}, "distill") == ["--epoch", "3", "--no-nonsense"]


@pytest.mark.parametrize(
    ("recipe", "cause"),
    [
        ({"method": "nope"}, "there is no method called 'nope'"),
        ({"method": "cosine", "set": ["margin_max=3"]}, "cosine has no option 'margin_max'"),
        ({"method": "triplet-distillation", "set": {"margin_max": -3}}, "margin_max"),
        ({"method": "cosine", "plus": "margin-softmax:0"}, "the weight of margin-softmax is 0"),
        ({"method": "cosine", "epochs": 0}, "--epochs: input should be greater than or equal to 1"),
        ({"method": "cosine", "epochs": "many"}, "Invalid value for '--epochs'"),
        ({"method": "cosine", "schedule": "cosin"}, "Did you mean 'cosine'?"),
        ({"method": "cosine", "schedule": "step", "milestones": [2, 900]}, "the milestones of the step schedule"),
        ({"method": "cosine", "teacher": "none"}, "the method cosine needs a teacher"),
        ({"method": "cosine", "lookalikes": 4}, "lookalikes are of no use"),
        ({"method": "cross-architecture", "plus": "cosine"}, "Write teacher: live"),
        ({"method": "triplet", "batch_size": 4}, "a batch of 4 has no room"),
    ],
)
def test_a_recipe_that_distill_would_refuse_is_refused_before_anything_runs(
    recipe: dict[str, Any],
    cause: str,
    study: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study.steps, "run", None)
    methods = {"good": {"method": "cosine"}, "bad": recipe}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**TINY, "methods": methods}, sort_keys=False))
    arguments = [str(tmp_path / "s"), "--recipes", str(tmp_path / "r.yaml")]
    for more in (["--plan"], []):
        assert study.study.main([*arguments, *more]) == 2
        said = capsys.readouterr()
        assert said.err.startswith("Error: recipe bad: ")
        assert cause in said.err
        assert said.out == ""
    assert not (tmp_path / "s").exists()
    assert study.study.main([*arguments, "--plan", "--methods", "good"]) == 0


@pytest.mark.parametrize(
    ("section", "options", "said"),
    [
        ("start", {"head": "cosfase"}, "section 'start': there is no head called 'cosfase'. Did you mean 'cosface'?"),
        ("teacher", {"model": "tinyfacenett"}, "step teacher: there is no backbone called 'tinyfacenett'"),
        ("pairs", {"fold": 3}, "step pairs: No such option"),
    ],
)
def test_sections_are_checked_too(
    section: str,
    options: dict[str, Any],
    said: str,
    study: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = {**TINY, "made-up": {**TINY["made-up"], section: options}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    assert study.study.main([str(tmp_path / "s"), "--recipes", str(tmp_path / "r.yaml"), "--plan"]) == 2
    assert said in capsys.readouterr().err


def test_a_documented_mapping_of_options_runs(
    study: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = {"a": {"method": "margin-softmax", "teacher": "none", "set": {"head": "cosface"}, "compile": False}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**TINY, "methods": methods}, sort_keys=False))
    assert study.study.main(["s", "--recipes", str(tmp_path / "r.yaml"), "--plan", "--seeds", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("--method margin-softmax --set head=cosface")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--seeds", "a", "'a' is no seed; write whole numbers from 0 on"),
        ("--seeds", "0,-1", "'-1' is no seed"),
        ("--seeds", "0,,1", "'' is no seed"),
        ("--resamples", "0", "'0' is no number of resamples"),
    ],
)
def test_numbers_that_are_none(
    option: str, value: str, said: str, study: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        study.study.main(["s", "--plan", f"{option}={value}"])
    assert stop.value.code == 2
    assert f"argument {option}: {said}" in capsys.readouterr().err


def test_seeds_are_taken_once(study: SimpleNamespace) -> None:
    assert study.study.parse(["s", "--seeds", "3,0, 3"]).seeds == [3, 0]


def test_a_report_of_nothing(study: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.study.main([str(tmp_path / "s"), "--report"]) == 2
    assert "there is no study here. Run it without --report first" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    (tmp_path / "s").mkdir()
    assert study.study.main([str(tmp_path / "s"), "--report"]) == 2
    assert "nothing of the study is finished yet. Run it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("methods", "cause"),
    [
        ({"a": {"method": "cosine", "teacher": "cached"}}, "not one of cache, live, none"),
        ({"a": {"method": "cosine", "start": "b"}, "b": {"method": "cosine"}}, "'b', which has to stand before it"),
        ({"a/b": {"method": "cosine"}}, "cannot be a run's folder"),
        ({"start": {"method": "cosine"}}, "cannot be a run's folder"),
        ({"teacher": {"method": "cosine"}}, "cannot be a run's folder"),
        ({"a": {"method": "cosine", "seed": 3}}, "a: seed is chosen by the study"),
        ({"a": "cosine"}, "a has to be a mapping"),
        (["a"], "methods has to be a mapping"),
        (None, "the section 'methods' is missing; add it"),
    ],
)
def test_recipes_that_are_wrong(methods: Any, cause: str, study: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"lfw": {"distill": {"epochs": 4}}, "methods": methods}))
    with pytest.raises(DataError, match=cause):
        study.recipes.read_recipes(tmp_path / "r.yaml", "lfw")


@pytest.mark.parametrize(
    ("content", "kind", "cause"),
    [
        ({"methods": TINY["methods"]}, "lfw", r"r\.yaml: the section 'lfw' is missing; add it"),
        (TINY, "lfw", "the section 'lfw' is missing"),
        (
            {**TINY, "made-up": {"distill": {"epochs": 1}}},
            "made-up",
            "made-up, data has no teacher; it needs teacher, tra",
        ),
        ({**TINY, "made-up": {"distill": 3}}, "made-up", "made-up, distill has to be a mapping"),
        (None, "lfw", "the file has to be a mapping"),
    ],
)
def test_recipes_without_a_section(content: Any, kind: str, cause: str, study: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(DataError, match=cause):
        study.recipes.read_recipes(tmp_path / "r.yaml", kind)


def test_no_recipes(study: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no such recipes"):
        study.recipes.read_recipes(tmp_path / "r.yaml", "lfw")


def test_hours_are_images_by_speed(study: SimpleNamespace) -> None:
    records = ({"step": 90, "images_per_second": 100.0}, {"step": 180, "images_per_second": 50.0})
    run = SimpleNamespace(options={"batch_size": 40, "accumulate": 2}, records=records)
    assert study.study.hours_of(run) == pytest.approx((72 + 144) / 3600)


@pytest.fixture
def judged(tmp_path: Path, study: SimpleNamespace) -> Path:
    """A study folder of embeddings alone: a method that is clearly better, and one that differs by chance alone."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(60), 4).astype(np.int64)
    centres = rng.normal(size=(60, 16))[labels]
    pairs = np.array([(i, i + 1) for i in range(0, 240, 4)] + [(i, (i + 6) % 240) for i in range(0, 240, 4)])
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    np.savez(
        tmp_path / "test.npz", source=["x"], fingerprint="f", labels=labels, pairs=pairs, same=same,
        folds=np.arange(120) % 5, fold_scheme="5 folds",
    )  # fmt: skip
    folder = tmp_path / "embeddings"
    folder.mkdir()

    def keep(name: str, noise: float) -> None:
        embeddings = centres + noise * rng.normal(size=centres.shape)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        np.save(folder / f"{name}.npy", embeddings.astype(np.float32))

    keep("teacher", 0.3)
    journal = study.steps.Journal(tmp_path)
    for seed in range(3):
        keep(f"undistilled-seed-{seed}", 0.9)
        keep(f"much_better-seed-{seed}", 0.6)
    for seed in range(3):  # the same in another order: other by seed, and equal in the mean
        shutil.copy(folder / f"undistilled-seed-{(seed + 1) % 3}.npy", folder / f"triplet-seed-{seed}.npy")
    for method in ("undistilled", "triplet", "much_better"):
        for seed in range(3):
            step = study.steps.Step(f"{method}-seed-{seed}", ("distill", "crops"))
            journal.finish(step, method=method, seed=seed, hours=0.5 + seed, parameters=100)
    return tmp_path


def test_differences_that_are_to_be_believed_are_bold(judged: Path, study: SimpleNamespace) -> None:
    study.report.write_report(judged, resamples=200, baselines=("undistilled", "triplet"))
    tables = (judged / "results.md").read_text().split("Points of TAR above")
    assert len(tables) == 3
    rows = {line.split("|")[1].strip(): line for line in tables[1].splitlines() if line.startswith("| ")}
    assert list(rows) == ["method", "triplet", "much_better"]
    assert rows["much_better"].count("**+") == 3  # at every FAR that 28,000 impostor pairs resolve
    assert "**" not in rows["triplet"]
    assert "undistilled" in tables[2]
    result = json.loads((judged / "results.json").read_text())
    assert [method["name"] for method in result["methods"]] == ["teacher", "undistilled", "triplet", "much_better"]
    better = result["methods"][3]
    kept = [np.load(judged / "embeddings" / f"much_better-seed-{seed}.npy") for seed in range(3)]
    labels = np.load(judged / "test.npz")["labels"]
    tars = [all_pairs(embeddings, labels, name="t").tar_at_far["1e-3"] for embeddings in kept]
    assert better["tar"]["1e-3"]["by_seed"] == pytest.approx(tars)
    assert better["above"]["triplet"]["1e-3"]["one_sign"] is True
    assert "| 1.50 |" in (judged / "results.md").read_text()


def test_methods_from_one_start_are_compared_with_it_and_with_the_fixed_margin(
    judged: Path, study: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, embeddings = study.steps.Journal(judged), judged / "embeddings"

    def finish(name: str, like: str, *words: str, seeds: tuple[int, ...] = (0, 1, 2)) -> None:
        for seed in seeds:
            shutil.copy(embeddings / f"{like}-seed-{seed}.npy", embeddings / f"{name}-seed-{seed}.npy")
            init = ["--init", f"{judged}/runs/{words[0]}/seed-{seed}"] if words else []
            out = ["--out", f"{judged}/runs/{name}/seed-{seed}", "--method", words[1] if words else "cosine"]
            out += words[2:]
            step = study.steps.Step(f"{name}-seed-{seed}", ("distill", "crops", *init, *out))
            journal.finish(step, method=name, seed=seed, hours=0.5, parameters=100)

    finish("z-start", "undistilled")
    finish("best", "much_better", "z-start", "triplet-distillation:2")
    finish("a-fixed", "triplet", "z-start", "triplet:1", seeds=(0, 1))
    finish("slower", "triplet", "z-start", "triplet", "--lr", "0.01")  # with another schedule
    finish("further", "much_better", "best", "cosine")
    finish("plain", "much_better", "start", "triplet")  # from the undistilled student, as most do
    for name, words in {
        "teacher-cache": ("embed", str(judged / "faces")),
        "start-seed-10": ("train-teacher", "--out", "runs/start/seed-10"),
        "start-seed-2": ("train-teacher", "--out", "runs/start/seed-2"),
        "teacher": ("train-teacher", "--out", "/elsewhere/teacher"),
        "faces-train": ("convert", "x"),
        study.finished.TEACHER_JUDGED: ("eval", "teacher"),
    }.items():
        journal.finish(study.steps.Step(name, words))
    monkeypatch.chdir(judged)
    study.report.write_report(judged, resamples=50, baselines=("undistilled", "triplet"))
    result = json.loads((judged / "results.json").read_text())
    above = {method["name"]: list(method["above"]) for method in result["methods"]}
    both = ["undistilled", "triplet"]
    assert above == {
        "teacher": [],
        "undistilled": ["triplet"],
        "triplet": ["undistilled"],
        "much_better": both,
        "plain": both,
        "best": [*both, "z-start", "a-fixed"],
        "a-fixed": [*both, "z-start"],
        "slower": [*both, "z-start"],
        "further": [*both, "best"],
        "z-start": both,
    }
    # The baselines stand first, then the best.
    tars = {method["name"]: method["tar"]["1e-4"]["estimate"] for method in result["methods"]}
    assert list(tars)[:3] == ["teacher", *both]
    assert list(tars.values())[3:] == sorted(list(tars.values())[3:], reverse=True)
    assert list(tars)[-1] in ("z-start", "a-fixed", "slower")
    assert len(result["methods"][list(tars).index("best")]["above"]["a-fixed"]["1e-3"]["by_seed"]) == 2
    markdown = (judged / "results.md").read_text()
    assert "others by TAR at FAR 1e-4." in markdown
    against = markdown.split("Points of TAR above `a-fixed`")[1].split("Points")[0].split("```")[0]
    assert [line.split(" | ")[0] for line in against.splitlines() if line.startswith("| ")] == ["| method", "| best"]
    with (judged / "results.csv").open(newline="") as stream:
        cells = {(row["method"], row["far"]): row for row in csv.DictReader(stream)}
    assert float(cells["best", "1e-3"]["above_a-fixed"]) > 0
    assert cells["plain", "1e-3"]["above_a-fixed"] == ""

    commands = [line for line in markdown.splitlines() if line.startswith("facedistill ")]
    assert commands[:3] == [
        "facedistill convert x",
        "facedistill train-teacher --out /elsewhere/teacher",
        "facedistill embed faces",
    ]
    assert commands[-1] == "facedistill train-teacher --out runs/start/seed-10"
    start = commands.index("facedistill train-teacher --out runs/start/seed-2")
    places = {what(shlex.split(line)[1:]): place for place, line in enumerate(commands) if "--method" in line}
    for seed in range(3):
        chain = [places[f"{name}/seed-{seed}"] for name in ("z-start", "best", "further")]
        assert chain == sorted(chain)
    assert places["further/seed-0"] < places["z-start/seed-1"]
    assert places["further/seed-1"] < start < places["z-start/seed-2"]
    assert "--init runs/best/seed-0 --out runs/further/seed-0" in markdown
    assert "facedistill eval" not in markdown


def test_kept_files_that_cannot_be_read(judged: Path, study: SimpleNamespace) -> None:
    (judged / "embeddings" / "triplet-seed-1.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"triplet-seed-1\.npy: the kept embeddings cannot be read"):
        study.report.write_report(judged, resamples=20, baselines=())
    (judged / "test.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="test set cannot be read"):
        study.report.write_report(judged, resamples=20, baselines=())
    (judged / "commands" / "triplet-seed-0.json").write_text("{}")
    with pytest.raises(DataError, match="what is known of the step cannot be read"):
        study.steps.Journal(judged).read("triplet-seed-0")


def test_methods_are_put_in_order_by_the_lowest_far_that_tells(study: SimpleNamespace) -> None:
    def resolving(*fars: str) -> Any:
        return SimpleNamespace(at_far={far: "tar" if far in fars else None for far in ("1e-2", "1e-3", "1e-4", "1e-5")})

    assert study.report.ranking_far(resolving("1e-2", "1e-3", "1e-4", "1e-5")) == "1e-4"
    assert study.report.ranking_far(resolving("1e-2", "1e-3")) == "1e-3"
    assert study.report.ranking_far(resolving()) is None
