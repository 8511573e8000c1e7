"""The road from a checkpoint or an ONNX file to a file that ships, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from facedistill.data.synthetic import SyntheticFaces
from facedistill.embedders.load import load_embedder
from facedistill.embedders.onnx_embedder import OnnxEmbedder
from facedistill.errors import DataError, GateError, ModelFileError, UsageError
from facedistill.evaluation.benchmark import Benchmark
from facedistill.export import export
from facedistill.export.crops import Crops, read_crops
from facedistill.export.export import export_model
from facedistill.export.options import ExportOptions
from facedistill.export.source import ExportSource, source_of_checkpoint, source_of_onnx
from facedistill.preprocessing import Preprocessing

from .made_checkpoints import made_checkpoint

FORMS: list[dict[str, Any]] = [
    {"precision": "fp32", "input": "uint8-rgb", "normalise": True},
    {"precision": "fp32", "layout": "nhwc", "opset": 17},
    {"precision": "fp16", "normalise": True},
    {"precision": "fp16", "input": "uint8-rgb"},
    {"precision": "int8", "input": "uint8-rgb", "normalise": True},
    {"precision": "int8", "layout": "nhwc"},
    {"precision": "int8-weights", "opset": 19},
]


@pytest.fixture(scope="module")
def source() -> ExportSource:
    return source_of_checkpoint(made_checkpoint(color="bgr", mean=120.0, std=100.0), name="made")


@pytest.fixture(scope="module")
def crops() -> Crops:
    return read_crops(SyntheticFaces(20, 4, size=64), "drawn", count=32)


def unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))
def test_every_form_gives_the_embeddings_of_its_source(
    form: dict[str, Any], source: ExportSource, crops: Crops, tmp_path: Path
) -> None:
    result = export_model(source, tmp_path / "a.onnx", ExportOptions(**form), crops=crops)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    embedder = load_embedder(tmp_path / "a.onnx", device="cpu")
    expected, found = source.reference.embed(crops.held_out), embedder.embed(crops.held_out)
    cosines = (unit(expected) * unit(found)).sum(axis=1)
    assert cosines.mean() >= {"fp32": 1 - 1e-6, "fp16": 0.9999}.get(form["precision"], 0.98)
    assert result.parity[1].mean_cosine == pytest.approx(cosines.mean(), abs=1e-4)
    if form.get("normalise"):
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    model = onnx.load(tmp_path / "a.onnx")
    (taken,) = model.graph.input
    axes = [axis.dim_param or axis.dim_value for axis in taken.type.tensor_type.shape.dim]
    pixels = form.get("input") == "uint8-rgb"
    assert axes[0] == "batch"
    assert axes[1:] == ([64, 64, 3] if pixels or form.get("layout") == "nhwc" else [3, 64, 64])
    types = onnx.TensorProto
    assert taken.type.tensor_type.elem_type == (types.UINT8 if pixels else types.FLOAT)
    assert model.opset_import[0].version == form.get("opset", 18) == result.options.opset


def test_nothing_of_the_machine_that_exported_is_in_the_file(source: ExportSource, tmp_path: Path) -> None:
    export_model(source, tmp_path / "a.onnx", ExportOptions())
    content = (tmp_path / "a.onnx").read_bytes()
    assert str(Path(export.__file__).parents[2]).encode() not in content
    assert b"site-packages" not in content
    names = [node.name for node in onnx.load(tmp_path / "a.onnx").graph.node]
    assert names[:2] == ["blocks.0.1/Conv", "blocks.0.2/PRelu"]
    assert len(set(names)) == len(names)


def test_an_application_feeds_pixels(source: ExportSource, tmp_path: Path) -> None:
    export_model(source, tmp_path / "a.onnx", ExportOptions(input="uint8-rgb"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    session = ort.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": pixels})
    np.testing.assert_allclose(unit(found), unit(source.reference.embed(pixels)), atol=1e-5)


def test_the_metadata(source: ExportSource, crops: Crops, tmp_path: Path) -> None:
    licences = {"teacher": "research only", "data": "CC BY 4.0"}
    export_model(source, tmp_path / "a.onnx", ExportOptions("int8", "uint8-rgb"), crops=crops, licences=licences)
    found = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(found["facedistill.preprocessing"]) == {
        "size": 64,
        "color": "bgr",
        "mean": 120.0,
        "std": 100.0,
        "layout": "nhwc",
    }
    assert json.loads(found["facedistill.backbone"])["name"] == "tinyfacenet"
    assert json.loads(found["facedistill.quantisation"])["crops"] == 32
    del found["facedistill.quantisation"], found["facedistill.backbone"], found["facedistill.preprocessing"]
    assert found == {
        "facedistill.embedding_size": "16",
        "facedistill.precision": "int8",
        "facedistill.input": "uint8-rgb",
        "facedistill.normalised": "false",
        "facedistill.provenance": '{"seed": 1}',
        "facedistill.teacher_license": "research only",
        "facedistill.data_license": "CC BY 4.0",
    }


def test_from_an_onnx_file(source: ExportSource, crops: Crops, tmp_path: Path) -> None:
    notes: list[str] = []
    first = export_model(source, tmp_path / "a.onnx", ExportOptions())
    onnx_model = onnx.load(tmp_path / "a.onnx")
    onnx.helper.set_model_props(
        onnx_model,
        {entry.key: entry.value for entry in onnx_model.metadata_props} | {"facedistill.thresholds": "[]"},
    )
    onnx.save(onnx_model, tmp_path / "b.onnx")
    again = source_of_onnx(tmp_path / "b.onnx", note=notes.append)
    assert notes == []
    second = export_model(again, tmp_path / "c.onnx", ExportOptions("fp16"), crops=crops, note=notes.append)
    assert second.parameters == first.parameters
    assert len(notes) == 1
    assert "the thresholds in" in notes[0]
    found = {entry.key: entry.value for entry in onnx.load(tmp_path / "c.onnx").metadata_props}
    assert "facedistill.thresholds" not in found
    assert json.loads(found["facedistill.exported_from"])["file"] == "b.onnx"
    assert json.loads(found["facedistill.provenance"]) == {"seed": 1}
    with pytest.raises(UsageError, match="not in float32"):
        source_of_onnx(tmp_path / "c.onnx")


def test_thresholds_stay_where_nothing_is_rounded(source: ExportSource, tmp_path: Path) -> None:
    export_model(source, tmp_path / "a.onnx", ExportOptions())
    model = onnx.load(tmp_path / "a.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props} | {"facedistill.thresholds": "[]"}
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, tmp_path / "a.onnx")
    export_model(source_of_onnx(tmp_path / "a.onnx"), tmp_path / "b.onnx", ExportOptions(input="uint8-rgb"))
    assert "facedistill.thresholds" in {entry.key for entry in onnx.load(tmp_path / "b.onnx").metadata_props}


def test_prelus_as_runtimes_want_them(source: ExportSource, tmp_path: Path) -> None:
    def count(name: str) -> int:
        return sum(node.op_type == "PRelu" for node in onnx.load(tmp_path / name).graph.node)

    export_model(source, tmp_path / "a.onnx", ExportOptions())
    export_model(source, tmp_path / "b.onnx", ExportOptions("fp16", prelu="spelled-out"))
    assert (count("a.onnx"), count("b.onnx")) == (9, 0)
    export_model(source, tmp_path / "c.onnx", ExportOptions(prelu="spelled-out"))
    again = source_of_onnx(tmp_path / "c.onnx")
    export_model(again, tmp_path / "d.onnx", ExportOptions())
    export_model(again, tmp_path / "e.onnx", ExportOptions(prelu="operator"))
    assert (count("c.onnx"), count("d.onnx"), count("e.onnx")) == (0, 0, 9)


# Faults that are planted on the way, and have to be found.

Plant = Callable[[onnx.ModelProto], None]


def planted(monkeypatch: pytest.MonkeyPatch, plant: Plant) -> None:
    """Have the network damaged after it has got its precision."""
    sound = export.in_precision

    def damaged(*arguments: Any, **options: Any) -> Any:
        rounded = sound(*arguments, **options)
        plant(rounded.network)
        return rounded

    monkeypatch.setattr(export, "in_precision", damaged)


def refusal(source: ExportSource, folder: Path, crops: Crops | None = None, **options: Any) -> str:
    """What the gate says; no file is left."""
    with pytest.raises(GateError) as error:
        export_model(source, folder / "a.onnx", ExportOptions(**options), crops=crops)
    assert list(folder.iterdir()) == []
    assert str(error.value).startswith(str(folder / "a.onnx"))
    return str(error.value)


def convolutions(network: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in network.graph.node if node.op_type == "Conv"]


def weights_of(network: onnx.ModelProto, name: str) -> onnx.TensorProto:
    (found,) = (each for each in network.graph.initializer if each.name == name)
    return found


def rewrite(network: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    tensor = weights_of(network, name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))


def test_a_batch_norm_in_training_mode(source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def plant(network: onnx.ModelProto) -> None:
        graph = network.graph
        last = graph.node[-1]
        values = {"scale": 1, "shift": 0, "mean": 0, "variance": 1}
        for name, value in values.items():
            graph.initializer.append(numpy_helper.from_array(np.full(16, value, np.float32), name))
        last.output[0] = "before"
        graph.node.append(
            onnx.helper.make_node(
                "BatchNormalization",
                ["before", *values],
                ["embedding", "new_mean", "new_variance"],
                name="planted",
                training_mode=1,
            )
        )

    planted(monkeypatch, plant)
    said = refusal(source, tmp_path)
    assert "planted" in said
    assert "training mode" in said


def test_swapped_colours(source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def plant(network: onnx.ModelProto) -> None:
        rewrite(network, convolutions(network)[0].input[1], lambda kernel: kernel[:, ::-1].copy())

    planted(monkeypatch, plant)
    said = refusal(source, tmp_path)
    assert "does not follow its source" in said
    assert f"the first layer that differs is '{layer_name(source, 0)}'" in said


def test_colours_swapped_before_the_network(
    source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    give_form = export.give_form
    monkeypatch.setattr(
        export,
        "give_form",
        lambda network, options, preprocessing: give_form(
            network, options, Preprocessing(size=64, color="rgb", mean=120.0, std=100.0)
        ),
    )
    assert "does not follow its source" in refusal(source, tmp_path, input="uint8-rgb")


def test_a_fixed_batch(source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def plant(network: onnx.ModelProto) -> None:
        network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    planted(monkeypatch, plant)
    assert "batch" in refusal(source, tmp_path)


def test_embeddings_of_zeros(source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def plant(network: onnx.ModelProto) -> None:
        network.graph.initializer.append(numpy_helper.from_array(np.float32(0), "nothing"))
        network.graph.node[-1].output[0] = "before"
        network.graph.node.append(onnx.helper.make_node("Mul", ["before", "nothing"], ["embedding"], name="planted"))

    planted(monkeypatch, plant)
    assert "all zero" in refusal(source, tmp_path)


def test_embeddings_that_are_no_numbers(source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def plant(network: onnx.ModelProto) -> None:
        rewrite(network, convolutions(network)[2].input[1], lambda kernel: kernel * np.float32(np.nan))

    planted(monkeypatch, plant)
    assert "not finite" in refusal(source, tmp_path)


def test_one_embedding_for_everybody(source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def plant(network: onnx.ModelProto) -> None:
        rewrite(network, convolutions(network)[0].input[1], np.zeros_like)

    planted(monkeypatch, plant)
    assert "one embedding" in refusal(source, tmp_path)


def test_a_layer_ruined_by_quantisation(
    source: ExportSource, crops: Crops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def plant(network: onnx.ModelProto) -> None:
        # The scale of the third convolution's output, as if one outlier had set it: all its values become one.
        ruined = convolutions(network)[2].output[0]
        (rounding,) = (
            node for node in consumers(network, ruined, through=("PRelu", "Relu")) if node.op_type == "QuantizeLinear"
        )
        rewrite(network, rounding.input[1], lambda scale: scale * np.float32(1e4))

    planted(monkeypatch, plant)
    said = refusal(source, tmp_path, crops, precision="int8")
    assert "the first layer that differs is" in said


def consumers(network: onnx.ModelProto, name: str, *, through: tuple[str, ...]) -> list[onnx.NodeProto]:
    found = []
    for node in network.graph.node:
        if name in node.input:
            found += consumers(network, node.output[0], through=through) if node.op_type in through else [node]
    return found


def layer_name(source: ExportSource, number: int) -> str:
    node = convolutions(source.network)[number]
    return str(node.name or node.output[0])


def test_lost_accuracy(source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    benchmark = made_benchmark()
    judged = export.measure_drop(source.reference, source.reference, [benchmark], progress=export.silent)
    assert [each.points for each in judged] == [0.0]
    # A source that is better than its result, which cannot be brought about by rounding alone.
    worse = export_model(source, tmp_path / "sound.onnx", ExportOptions(), benchmarks=[benchmark])
    assert worse.drops[0].before == pytest.approx(worse.drops[0].after)
    drops = (export.Drop("drawn", 0.995, 0.9939),)
    monkeypatch.setattr(export, "measure_drop", lambda *_, **__: drops)
    (tmp_path / "sound.onnx").unlink()
    with pytest.raises(GateError, match=r"drawn: the accuracy falls from 99\.50 to 99\.39 %, and may fall by 0\.1"):
        export_model(source, tmp_path / "a.onnx", ExportOptions(), benchmarks=[benchmark])
    assert list(tmp_path.iterdir()) == []
    export_model(source, tmp_path / "a.onnx", ExportOptions(), benchmarks=[benchmark], max_drop=0.11)


def made_benchmark() -> Benchmark:
    faces = SyntheticFaces(10, 4, size=64)
    pairs = np.array([(a, b) for a in range(0, 40, 4) for b in (a + 1, a + 2, (a + 5) % 40, (a + 9) % 40)])
    same = faces.labels[pairs[:, 0]] == faces.labels[pairs[:, 1]]
    return Benchmark("drawn", faces, pairs, same, np.arange(40) // 4, "10 folds")


# Bad input, and what is left behind.


def test_int8_wants_crops(source: ExportSource, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8 needs crops"):
        export_model(source, tmp_path / "a.onnx", ExportOptions("int8"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "int4"}, "no precision called 'int4'"),
        ({"input": "uint8"}, "no form of the input called 'uint8'. Did you mean 'uint8-rgb'"),
        ({"layout": "hwc"}, "no layout called 'hwc'"),
        ({"layout": "nchw", "input": "uint8-rgb"}, "pixels come as"),
        ({"opset": 12}, "opset 12 is too old"),
        ({"prelu": "spelled"}, "no form of PReLUs called 'spelled'. Did you mean 'spelled-out'"),
        ({"prelu": "operator", "precision": "int8"}, "in int8 PReLUs have a form of their own"),
    ],
)
def test_options_that_make_no_file(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ExportOptions(**options)


def test_an_opset_that_nobody_knows(source: ExportSource, tmp_path: Path) -> None:
    with pytest.raises((UsageError, ModelFileError), match="the operator set is 99"):
        export_model(source, tmp_path / "a.onnx", ExportOptions(opset=99))
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_target(source: ExportSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match="cannot be written"):
        export_model(source, tmp_path / "file" / "a.onnx", ExportOptions())


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted_writing_leaves_what_was_there(
    failure: BaseException, source: ExportSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.onnx").write_text("earlier")

    def save(network: onnx.ModelProto, path: Path) -> None:
        path.write_bytes(network.SerializeToString()[:1000])
        raise failure

    monkeypatch.setattr(onnx, "save", save)
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else ModelFileError
    with pytest.raises(expected):
        export_model(source, tmp_path / "a.onnx", ExportOptions())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.onnx", "earlier")]


class Listed:
    """Images of given sizes, one person each."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.sizes = sizes
        self.labels = np.arange(len(sizes))

    def __len__(self) -> int:
        return len(self.sizes)

    def image(self, index: int) -> np.ndarray:
        return np.zeros((*self.sizes[index], 3), np.uint8)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(64, 64)] * 10, "10 crops are too few"),
        ([(64, 64)] * 30 + [(112, 112)] * 30, "64 x 64, 112 x 112 pixels"),
        ([(60, 64)] * 60, "64 x 60 pixels"),
    ],
)
def test_crops_that_cannot_be_used(sizes: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_crops(Listed(*sizes), "photos", count=50)  # type: ignore[arg-type]


def test_few_crops_are_told() -> None:
    notes: list[str] = []
    crops = read_crops(SyntheticFaces(10, 4, size=64), "drawn", count=300, note=notes.append)
    assert (len(crops.calibration), len(crops.held_out)) == (30, 10)
    assert notes == ["drawn: 30 crops to calibrate on, and 10 to judge by, are all there are"]
    both = {image.tobytes() for image in crops.calibration} & {image.tobytes() for image in crops.held_out}
    assert not both


def test_crops_of_another_size_are_told(source: ExportSource, tmp_path: Path) -> None:
    notes: list[str] = []
    crops = read_crops(SyntheticFaces(10, 4, size=80), "photos", count=30)
    export_model(source, tmp_path / "a.onnx", ExportOptions(), crops=crops, note=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("photos: the images are 80 x 80 pixels and are resized to 64 x 64")


def test_pixels_without_a_word_on_them(source: ExportSource, tmp_path: Path) -> None:
    export_model(source, tmp_path / "a.onnx", ExportOptions(input="uint8-rgb"))
    with pytest.raises(ModelFileError, match="does what its metadata says inside"):
        OnnxEmbedder(tmp_path / "a.onnx", device="cpu", color="rgb")
    model = onnx.load(tmp_path / "a.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ModelFileError, match="takes pixels, and no metadata"):
        OnnxEmbedder(tmp_path / "bare.onnx", device="cpu")
