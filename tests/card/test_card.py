from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facedistill.card.blocks import Facts, Points, Table, Words
from facedistill.card.card import ModelCard, make_card
from facedistill.card.markdown import card_markdown
from facedistill.card.training_facts import TrainingFacts
from facedistill.card.uses import LIMITS
from facedistill.card.write import write_run_card
from facedistill.errors import UsageError
from facedistill.export.saved_thresholds import save_thresholds
from facedistill.files import file_sha256
from facedistill.saved_results import SavedResults, SavedThreshold


def facts_of(card: ModelCard, title: str) -> dict[str, str]:
    blocks = next(section.blocks for section in card.sections() if section.title == title)
    return {name: value for block in blocks if isinstance(block, Facts) for name, value in block.rows}


def tables_of(card: ModelCard, title: str) -> list[Table]:
    blocks = next(section.blocks for section in card.sections() if section.title == title)
    return [block for block in blocks if isinstance(block, Table)]


def words_of(card: ModelCard, title: str) -> str:
    blocks = next(section.blocks for section in card.sections() if section.title == title)
    found = [block.text for block in blocks if isinstance(block, Words)]
    found += [line for block in blocks if isinstance(block, Points) for line in block.lines]
    return "\n".join(found)


def results(**found: Any) -> SavedResults:
    return SavedResults(Path("result.json"), **found)


def test_a_run(run: Path) -> None:
    card = make_card(run, followed=0.975)
    what = facts_of(card, "What it is")
    assert (what["architecture"], what["precision"]) == ("tinyfacenet", "fp32")
    assert what["SHA-256"] == file_sha256(run / "last" / "backbone.safetensors")
    assert (what["file"], what["input"]) == ("last/backbone.safetensors", "float, (N, 3, 64, 64)")
    assert what["embedding"] == "16 numbers, not normalised, compared by cosine"
    training = facts_of(card, "Training")
    assert training["command"] == "facedistill distill, version 0.2.0"
    assert training["method"] == "triplet-distillation + mse:0.5 (margin_max=0.6)"
    assert training["epochs"] == "3 of 4"
    assert training["optimisation"] == "sgd, learning rate 0.05, schedule cosine, batches of 32"
    assert (training["seed"], training["initial weights"]) == ("7", "start")
    assert (training["teacher"], training["teacher, SHA-256"]) == ("r50.onnx, embeddings of 512", "92c67ec8")
    assert (training["data"], training["data, fingerprint"]) == ("crops: 9,525 images of 4,038 people", "f3e0af80")
    assert "97.50 %" in words_of(card, "Figures")
    assert "/home" not in card_markdown(card)
    assert card.missing() == [
        "no figures: --results with what facedistill eval --json wrote",
        "no latency: --results with what facedistill bench --json wrote",
        "the terms of the teacher are unknown: --teacher-license",
        "the terms of the training data are unknown: --data-license",
    ]


def test_what_every_run_folder_gets(run: Path) -> None:
    assert write_run_card(run) == run / "card.md"
    text = (run / "card.md").read_text()
    assert text.startswith("# Model card: student\n")
    assert "97.50 %" in text
    (run / "metrics.jsonl").unlink()
    write_run_card(run)
    assert "97.50 %" not in (run / "card.md").read_text()


def test_licences(run: Path) -> None:
    unknown = facts_of(make_card(run), "Licences")
    assert unknown == {"teacher: r50.onnx": "unknown", "data: crops": "unknown", "initial weights: start": "unknown"}
    card = make_card(run, licences={"teacher": "research only"})
    assert facts_of(card, "Licences")["teacher: r50.onnx"] == "research only"
    assert "may inherit the terms" in words_of(card, "Licences")
    alone = replace(card, licences={}, training=TrainingFacts("train-teacher"))
    assert facts_of(alone, "Licences") == {"teacher": "none was used", "data": "unknown"}
    assert not any("teacher" in line for line in alone.missing())


def test_licences_saved_in_the_file(tmp_path: Path, make_onnx: Callable[..., Path]) -> None:
    path = make_onnx(tmp_path / "m.onnx", teacher_license="MIT", data_license="CC BY")
    assert facts_of(make_card(path), "Licences") == {"teacher": "MIT", "data": "CC BY"}
    card = make_card(path, licences={"data": "asked and allowed"})
    assert facts_of(card, "Licences") == {"teacher": "MIT", "data": "asked and allowed"}


def test_a_foreign_file(tmp_path: Path, make_onnx: Callable[..., Path]) -> None:
    notes: list[str] = []
    card = make_card(make_onnx(tmp_path / "m.onnx"), color="bgr", note=notes.append)
    what = facts_of(card, "What it is")
    assert what["architecture"] == "unknown: the file does not tell"
    assert what["preprocessing"].endswith("assumed: the file does not tell")
    assert "BGR" in what["preprocessing"]
    assert notes
    assert "does not tell how the model was trained" in words_of(card, "Training")
    assert "nothing tells how it was trained" in card.missing()
    for title, sentence in (
        ("Figures", "None was given"),
        ("Figures by group", "None was measured"),
        ("Thresholds", "None is known"),
        ("Speed", "Nobody has measured it"),
        ("Limits", LIMITS[0]),
    ):
        assert sentence in words_of(card, title)


def test_figures_thresholds_and_speed(
    tmp_path: Path, make_onnx: Callable[..., Path], judged: Callable[..., Any], benched: Callable[..., Any]
) -> None:
    path = make_onnx(tmp_path / "m.onnx")
    before = file_sha256(path)
    save_thresholds(path, [{"far": 1e-3, "cosine": 0.45, "benchmark": "ours", "tar": 0.9}])
    own = SavedThreshold(benchmark="lfw", far=1e-2, cosine=0.3, tar=0.99)
    first = judged(before, warnings=("30 of its 50 people are in the training data",))
    card = make_card(
        path,
        [
            results(judged=(first, judged("other"))),  # a comparison with another model
            results(judged=(first.model_copy(update={"benchmarks": (), "thresholds": (own,)}),)),
            results(benched=(benched(file_sha256(path)),)),
        ],
    )
    (table,) = tables_of(card, "Figures")
    assert table.columns == ("pair list", "precision", "pairs", "accuracy, %", "EER, %", "TAR at FAR 1e-3, %")
    row = ("lfw", "fp32", "6,000", "99.00 ± 0.30 (98.50 to 99.50)", "1.00", "98.00 (97.00 to 99.00)")
    assert table.rows == (row,)
    (table,) = tables_of(card, "Thresholds")
    assert table.rows == (
        ("ours", "fp32", "1e-3", "0.4500", "1.1000", "90.00", "saved in the file"),
        ("lfw", "fp32", "1e-2", "0.3000", "1.4000", "99.00", "facedistill threshold"),
        ("lfw", "fp32", "best accuracy", "0.4000", "1.2000", "-", "facedistill eval"),
        ("lfw", "fp32", "1e-3", "0.5000", "1.0000", "98.00", "facedistill eval"),
    )
    (table,) = tables_of(card, "Speed")
    assert table.columns[-2:] == ("faces/s, batch 1", "faces/s, batch 8")
    assert table.rows == (
        ("fp32", "1", "10.00", "12.00", "20.00", "100", "800"),
        ("fp32", "2", "10.00", "12.00", "20.00", "100", "800"),
    )
    assert "Fast One, 2 processors, onnxruntime 1.2.3" in words_of(card, "Speed")
    assert "fp32 39 MB" in words_of(card, "Speed")
    assert "lfw, fp32: 30 of its 50 people are in the training data" in words_of(card, "Limits")
    assert card.missing()[0] == "nothing tells how it was trained"
    assert json.loads(json.dumps(card.to_dict()))["results"][0]["benchmarks"][0]["accuracy"] == 0.99


def test_a_result_of_another_model_is_refused(
    tmp_path: Path, make_onnx: Callable[..., Path], judged: Callable[..., Any], benched: Callable[..., Any]
) -> None:
    path = make_onnx(tmp_path / "m.onnx")
    for stranger in (results(judged=(judged("0123456789abcdef"),)), results(benched=(benched("0123456789abcdef"),))):
        with pytest.raises(
            UsageError, match=r"result.json: the result is of another model: student.onnx \(SHA-256 0123"
        ):
            make_card(path, [results(judged=(judged(file_sha256(path)),)), stranger])


def test_other_precisions_stand_beside_it(
    tmp_path: Path, make_onnx: Callable[..., Path], judged: Callable[..., Any], exported: Callable[..., Any]
) -> None:
    path = make_onnx(tmp_path / "m.onnx")
    own = file_sha256(path)
    # In whatever order: int8 belongs here only once it is known what this file was made of.
    chain = [
        results(exported=(exported("half", own, "fp16"),)),
        results(exported=(exported("bytes", "checkpoint", "int8"), exported(own, "checkpoint", "fp32"))),
    ]
    wanted = [judged(own), judged("half"), judged("bytes", accuracy=0.98), judged("checkpoint")]
    card = make_card(path, [*(results(judged=(each,)) for each in wanted), *chain])
    figures, parity, gate = tables_of(card, "Figures")
    assert [row[1] for row in figures.rows] == ["fp32", "fp16", "int8", "before export"]
    assert [row[3][:5] for row in figures.rows] == ["99.00", "99.00", "98.00", "99.00"]
    assert parity.rows[0] == ("fp16", "64 crops of lfw", "0.990000", "0.970000", "3.0e-02")
    assert gate.rows[0] == ("fp16", "lfw", "99.45", "99.40")
    with pytest.raises(UsageError, match="another model"):  # nothing links it without the export
        make_card(path, [results(judged=(judged("half"),))])


def test_the_source_of_an_export_is_known_from_its_file(
    tmp_path: Path, make_onnx: Callable[..., Path], judged: Callable[..., Any]
) -> None:
    facts = {"exported_from": json.dumps({"file": "m.onnx", "sha256": "source"}), "precision": "int8"}
    path = make_onnx(tmp_path / "i8.onnx", **facts, normalised="true")
    card = make_card(path, [results(judged=(judged("source"), judged(file_sha256(path))))])
    assert [row[1] for row in tables_of(card, "Figures")[0].rows] == ["before export", "int8"]
    assert facts_of(card, "What it is")["embedding"] == "4 numbers, of length 1, compared by cosine"
