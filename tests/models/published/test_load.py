"""Published weights give the embeddings that the published networks give, and whatever does not fit is named."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from facedistill.checkpoint import load_checkpoint, save_checkpoint
from facedistill.embedders.load import load_embedder, load_model_checkpoint
from facedistill.errors import ModelFileError, UsageError
from facedistill.models import build_backbone
from facedistill.models.published import load_published
from facedistill.models.published.load import recognise

from .published_networks import AdaFaceBackbone, ArcFaceIResNet, ArcFaceMbf, TFaceMobileFaceNet, randomised

IRESNETS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "iresnet200": (6, 26, 60, 6),
}
Network = Callable[[], nn.Module]
ALL: list[tuple[str, Network]] = [
    *((name, lambda depths=depths: ArcFaceIResNet(depths)) for name, depths in IRESNETS.items()),
    ("mbf", lambda: ArcFaceMbf(2, (1, 4, 6, 2))),
    ("mbf-large", lambda: ArcFaceMbf(4, (2, 8, 12, 4))),
    ("adaface-ir18", lambda: AdaFaceBackbone(IRESNETS["iresnet18"])),
    ("adaface-ir34", lambda: AdaFaceBackbone(IRESNETS["iresnet34"])),
    ("adaface-ir50", lambda: AdaFaceBackbone(IRESNETS["iresnet50"])),
    ("adaface-ir101", lambda: AdaFaceBackbone(IRESNETS["iresnet100"])),
    ("mobilefacenet", TFaceMobileFaceNet),
]


@pytest.fixture(scope="module")
def tface() -> dict[str, torch.Tensor]:
    """A small state dict for the tests of what can go wrong; they copy it before they change it."""
    return randomised(TFaceMobileFaceNet(64)).state_dict()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def assert_same(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "network"), ALL)
def test_each_tensor_of_ours_has_its_own_published_one(name: str, network: Network) -> None:
    with torch.device("meta"):
        published = network().state_dict()
        layout = recognise(published, Path("backbone.pth"))
        ours = build_backbone(layout.spec.name, embedding_size=512).state_dict()
    assert (layout.spec.name, layout.spec.embedding_size, layout.input_size) == (name, 512, 112)
    names = {tensor: layout.published_name(tensor) for tensor in ours if tensor not in layout.absent}
    assert sorted(names.values()) == sorted(published)
    assert all(ours[tensor].shape == published[theirs].shape for tensor, theirs in names.items())


@torch.inference_mode()
def test_arcface_iresnet(tmp_path: Path, images: torch.Tensor) -> None:
    network = randomised(ArcFaceIResNet(IRESNETS["iresnet18"], size=96))
    path = saved(tmp_path / "backbone.pth", network.state_dict())
    checkpoint = load_published(path, color="rgb")
    path.unlink()
    assert (checkpoint.spec.name, checkpoint.spec.embedding_size) == ("iresnet18", 96)
    assert_same(checkpoint.backbone(images), network(images))


@torch.inference_mode()
def test_arcface_mbf(tmp_path: Path, images: torch.Tensor) -> None:
    network = randomised(ArcFaceMbf(2, (1, 4, 6, 2)))
    # arcface_torch's checkpoint of a whole run.
    content = {"epoch": 3, "state_dict_backbone": network.state_dict(), "state_dict_softmax_fc": {"weight": images}}
    checkpoint = load_published(saved(tmp_path / "checkpoint_gpu_0.pt", content), color="rgb")
    assert checkpoint.spec.name == "mbf"
    assert_same(checkpoint.backbone(images), network(images))


@torch.inference_mode()
def test_adaface_ir(tmp_path: Path, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's file: prefixed, with the head, and with a class of an old Lightning that is not installed here."""
    network = randomised(AdaFaceBackbone(IRESNETS["iresnet18"]))
    package = "pytorch_lightning.callbacks.model_checkpoint"
    made_up = types.ModuleType(package)
    made_up.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": package})  # type: ignore[attr-defined]
    content = {
        "epoch": 25,
        "callbacks": {made_up.ModelCheckpoint: {"best_model_score": torch.tensor(0.97), "best_model_path": "a.ckpt"}},
        "hyper_parameters": {"arch": "ir_18", "lr_milestones": [12, 20, 24]},
        "state_dict": {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
        | {"head.kernel": torch.randn(512, 10), "head.t": torch.zeros(1), "head.batch_mean": torch.ones(1)},
    }
    path = tmp_path / "adaface_ir18.ckpt"
    with monkeypatch.context() as patch:
        for name in ("pytorch_lightning", "pytorch_lightning.callbacks", package):
            patch.setitem(sys.modules, name, made_up if name == package else types.ModuleType(name))
        saved(path, content)
    notes: list[str] = []
    checkpoint = load_published(path, color="bgr", note=notes.append)
    path.unlink()
    assert checkpoint.spec.name == "adaface-ir18"
    assert "its classification head (3 tensors) is left out" in notes[0]
    direction, norm = network(images)
    assert_same(checkpoint.backbone(images), direction * norm)


@torch.inference_mode()
def test_tface_mobilefacenet(tmp_path: Path, images: torch.Tensor) -> None:
    network = randomised(TFaceMobileFaceNet())
    checkpoint = load_published(saved(tmp_path / "backbone.pth", network.state_dict()), color="rgb")
    assert checkpoint.spec.name == "mobilefacenet"
    assert_same(checkpoint.backbone(images), network(images))


def test_a_size_other_than_112_is_told_by_the_linear_layer() -> None:
    with torch.device("meta"):
        layout = recognise(ArcFaceIResNet(IRESNETS["iresnet18"], side=14).state_dict(), Path("backbone.pth"))
    assert layout.input_size == 224


def test_what_a_checkpoint_carries(tmp_path: Path, tface: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "backbone.pth", tface)
    notes: list[str] = []
    checkpoint = load_published(path, color="bgr", std=128.0, note=notes.append)
    assert checkpoint.preprocessing.to_dict() == {
        "size": 112,
        "color": "bgr",
        "mean": 127.5,
        "std": 128.0,
        "layout": "nchw",
    }
    assert len(notes) == 1
    assert "assuming 112x112 BGR, (x - 127.5) / 128 (mean not given)" in notes[0]
    assert checkpoint.provenance == {"published": "TFace's MobileFaceNet", "file": "backbone.pth"}
    assert checkpoint.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not checkpoint.backbone.training
    assert all(parameter.dtype == torch.float32 for parameter in checkpoint.backbone.parameters())
    # It can be trained on, and saved as one of ours.
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in checkpoint.backbone.parameters())
    save_checkpoint(tmp_path / "ours.safetensors", checkpoint)
    again = load_checkpoint(tmp_path / "ours.safetensors")
    for name, tensor in again.backbone.state_dict().items():
        assert torch.equal(tensor, checkpoint.backbone.state_dict()[name])


def test_the_frozen_scale_of_an_iresnet_stays_frozen(tmp_path: Path) -> None:
    network = ArcFaceIResNet(IRESNETS["iresnet18"], side=2, size=8)
    path = saved(tmp_path / "backbone.pth", {name: tensor.half() for name, tensor in network.state_dict().items()})
    checkpoint = load_published(path, color="rgb")
    path.unlink()
    frozen = [name for name, parameter in checkpoint.backbone.named_parameters() if not parameter.requires_grad]
    assert frozen == ["norm.weight"]
    assert checkpoint.preprocessing.size == 32


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {"backbone": {f"_orig_mod.module.{name}": tensor for name, tensor in tensors.items()}},
        lambda tensors: {"epoch": 1, "model": {f"backbone.{name}": tensor for name, tensor in tensors.items()}},
        lambda tensors: {n: t.half() for n, t in tensors.items() if not n.endswith("num_batches_tracked")},
        lambda tensors: {name: nn.Parameter(tensor, tensor.is_floating_point()) for name, tensor in tensors.items()},
    ],
    ids=["module", "compiled", "wrapped", "half", "parameters"],
)
def test_wrappers_and_prefixes(
    tmp_path: Path,
    tface: dict[str, torch.Tensor],
    wrap: Callable[[dict[str, torch.Tensor]], dict[str, object]],
    zipped: bool,
) -> None:
    torch.save(wrap(tface), tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    backbone = load_published(tmp_path / "a.pt", color="rgb").backbone
    linear = backbone.state_dict()["embed.weight"]
    torch.testing.assert_close(linear, tface["output_layer.linear.weight"], rtol=1e-3, atol=1e-4)


def test_colour_has_to_be_given(tmp_path: Path, tface: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "backbone.pth", tface)
    with pytest.raises(UsageError, match=r"Say rgb or bgr .* arcface_torch's .* take rgb, AdaFace's bgr"):
        load_published(path)
    with pytest.raises(UsageError, match="colour order is 'grb'"):
        load_published(path, color="grb")


def test_tensors_that_do_not_fit_are_named(tmp_path: Path, tface: dict[str, torch.Tensor]) -> None:
    tensors = {name: tensor for name, tensor in tface.items() if not name.startswith("conv_4.model.5.")}
    for index in range(10):
        tensors[f"conv_4.se\x1b.{index}"] = torch.zeros(1)
    tensors["conv1.conv.weight"] = torch.zeros(64, 1, 3, 3)
    with pytest.raises(ModelFileError) as raised:
        load_published(saved(tmp_path / "a.pth", tensors), color="rgb")
    message = str(raised.value)
    assert "do not fit TFace's MobileFaceNet, which is 'mobilefacenet' here" in message
    # Three convolutions, three batch norms of four tensors, two PReLUs; counts of batches may be missing.
    assert "17 missing: conv_4.model.5.conv.conv.weight, conv_4.model.5.conv.bn.weight," in message
    assert "and 9 more; 10 not expected: conv_4.se\\x1b.0, conv_4.se\\x1b.1," in message
    assert (
        "conv_4.se\\x1b.7 and 2 more; 1 of another shape: conv1.conv.weight [64, 1, 3, 3] for [64, 3, 3, 3]" in message
    )


def test_depths_that_are_not_known(tmp_path: Path) -> None:
    with torch.device("meta"):
        iresnet = ArcFaceIResNet((2, 2, 2, 1)).state_dict()
        mbf = ArcFaceMbf(2, (1, 4, 6, 3)).state_dict()
        ir = AdaFaceBackbone((2, 2, 2, 1)).state_dict()
    for tensors, message in [
        (iresnet, "IResNet with 2, 2, 2, 1 blocks, and that depth is not known. Known are iresnet18, iresnet34"),
        (mbf, r"with 128 channels after the first layer and 1, 4, 6, 3 blocks.* Known are mbf \(128; 1, 4, 6, 2\)"),
        (ir, r"IR network of 7 units, and that depth is not known. Known are adaface-ir18 \(8\)"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            recognise(tensors, Path("backbone.pth"))


def test_other_networks_are_told_from_known_ones(tmp_path: Path) -> None:
    torchvision = {"conv1.weight": torch.zeros(1), "layer1.0.conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}
    with pytest.raises(ModelFileError, match=r"no network that is known here .*conv1.weight, layer1.0.conv1.weight"):
        load_published(saved(tmp_path / "a.pth", torchvision), color="rgb")


class Arguments:
    """What training scripts put beside their weights."""


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_objects_are_refused(tmp_path: Path, tface: dict[str, torch.Tensor], zipped: bool) -> None:
    path, sprung = tmp_path / "a.pth", tmp_path / "sprung"
    for content in ({"state_dict": tface, "args": Arguments()}, TFaceMobileFaceNet(8), {"x": Trap(sprung), **tface}):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ModelFileError, match="unpickling Python objects runs code") as raised:
            load_published(path, color="rgb")
        assert "torch.save(model.state_dict(), NEW)" in str(raised.value)
    assert not sprung.exists()


def test_a_refused_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"it needs [\w.]+\.Arguments"):
        load_published(saved(tmp_path / "a.pth", {"args": Arguments()}), color="rgb")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_truncated_file(tmp_path: Path, tface: dict[str, torch.Tensor], zipped: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save(tface, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for kept in (len(content) - 100, len(content) // 2, 1000, 10, 0):
        path.write_bytes(content[:kept])
        with pytest.raises(ModelFileError, match=r"cannot be read .*It may be truncated"):
            load_published(path, color="rgb")


def test_tensors_that_only_pretend_their_size(tmp_path: Path, tface: dict[str, torch.Tensor]) -> None:
    """An embedding of 40 million numbers in a file of 5 MB, which would be 80 GB in memory; and tensors without any."""
    for name, pretended in (
        ("output_layer.linear.weight", torch.zeros(1).expand(40_000_000, 512)),
        ("output_layer.linear.weight", torch.zeros(64, 512).to_sparse()),
        ("conv1.bn.bias", torch.zeros(64, device="meta")),
    ):
        tensors = tface | {name: pretended}
        if len(pretended) > 64:
            for statistic in ("running_mean", "running_var"):
                tensors[f"output_layer.bn.{statistic}"] = torch.zeros(1).expand(40_000_000)
        with pytest.raises(ModelFileError, match=r"fewer numbers than the shape of '[\w.]+' says"):
            load_published(saved(tmp_path / "a.pth", tensors), color="rgb")


def test_files_that_hold_no_weights(tmp_path: Path, tface: dict[str, torch.Tensor]) -> None:
    nan = dict(tface)
    nan["conv1.bn.bias"] = torch.full((64,), float("nan"))
    whole = dict(tface)
    whole["conv1.bn.bias"] = torch.zeros(64, dtype=torch.int8)
    for content, message in [
        (torch.zeros(3), "holds a Tensor, not the weights"),
        ({"epoch": 3, "args": {}}, "no weights of a network .its entries are epoch, args"),
        ({}, "it is empty"),
        (nan, "weights in 'conv1.bn.bias' are not finite"),
        (whole, "weights in 'conv1.bn.bias' are torch.int8"),
        ({"head.weight": torch.zeros(1)}, "no network that is known here .they are called head.weight"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            load_published(saved(tmp_path / "a.pth", content), color="rgb")
    with pytest.raises(ModelFileError, match="there is no such model file"):
        load_published(tmp_path / "none.pth", color="rgb")
    endless: dict[str, object] = {"epoch": 1}
    endless["state_dict"] = endless
    with pytest.raises(ModelFileError, match="its entries are epoch, state_dict"):
        load_published(saved(tmp_path / "a.pth", endless), color="rgb")


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_torchscript_program(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(1, 1)).save(tmp_path / "script.pt")
    with pytest.raises(ModelFileError, match="TorchScript program"):
        load_published(tmp_path / "script.pt", color="rgb")


def test_they_embed_teach_and_are_trained_on(tmp_path: Path, tface: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "backbone.ckpt", tface)
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    rgb = load_embedder(path, device="cpu", color="rgb")
    bgr = load_embedder(path, device="cpu", color="bgr")
    assert (rgb.name, rgb.embedding_size) == (str(path), 64)
    np.testing.assert_allclose(bgr.embed(crops[..., ::-1].copy()), rgb.embed(crops), atol=1e-5)
    assert not np.allclose(bgr.embed(crops), rgb.embed(crops), atol=1e-3)
    checkpoint = load_model_checkpoint(path, color="bgr")
    assert checkpoint.preprocessing.color == "bgr"
    save_checkpoint(tmp_path / "ours.safetensors", checkpoint)
    assert load_model_checkpoint(tmp_path / "ours.safetensors").preprocessing.color == "bgr"
    with pytest.raises(UsageError, match="carries its own preprocessing"):
        load_model_checkpoint(tmp_path / "ours.safetensors", color="rgb")
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="an ONNX file is for embedding only"):
        load_model_checkpoint(tmp_path / "a.onnx")
    with pytest.raises(UsageError, match="Say rgb or bgr"):
        load_embedder(path, device="cpu")
