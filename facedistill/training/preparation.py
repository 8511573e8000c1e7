"""What every training command does before its first step: look at the data, build the network, note the facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel
from torch import nn

import facedistill
from facedistill.checkpoint import BackboneSpec
from facedistill.data.dataset import FaceDataset
from facedistill.data.joined import JoinedDataset
from facedistill.data.subset import Subset
from facedistill.data.verification_bin import VerificationBin
from facedistill.embedders.load import load_model_checkpoint
from facedistill.errors import DataError, UsageError
from facedistill.files import file_sha256
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.ranks import ranks
from facedistill.training.options import TrainingOptions
from facedistill.training.run_folder import RunFolder

# The arguments of a command that are no options of the training, and tell where things lie.
INPUTS = {
    *("data", "identities", "exclude", "teacher", "teacher_color", "teacher_mean", "teacher_std", "init"),
    *("teacher_weight", "teacher_combine", "pairs", "images", "logger"),
}
# What may differ between a run and its resumption without changing what is computed, or is told by a fingerprint.
FREE_TO_CHANGE = {
    *("device", "workers", "max_corrupt", "log_every", "save_every", "save_minutes", "keep", "patience"),
    *(INPUTS - {"init"}),
}


def check_training_data(
    dataset: FaceDataset, preprocessing: Preprocessing, *, note: Callable[[str], None] | None = None
) -> None:
    """Refuse a data set that cannot be learned from; say so where the crops are not of the model's size.

    Raises:
        DataError: a verification set, fewer than two identities, labels that are no integers, or a label outside their
            number (which on a GPU would end in an assertion far from its cause).
    """
    for part in whole_parts(dataset):
        if isinstance(part, VerificationBin):
            raise DataError(
                "a verification set tells who is who of its pairs only, so that one person has many labels",
                place=part.path,
                next_step="Train on other data, and judge by this one with facedistill eval --bin",
            )
    classes = len(dataset.identities)
    if classes < 2:
        raise DataError(f"the data set holds {classes} identity; two are the least that can be told apart")
    if not np.issubdtype(dataset.labels.dtype, np.integer):
        raise DataError(f"the labels are {dataset.labels.dtype}, and they have to be whole numbers")
    wrong = (dataset.labels < 0) | (dataset.labels >= classes)
    if wrong.any():
        index = int(wrong.argmax())
        raise DataError(
            f"image '{dataset.key(index)}' has label {dataset.labels[index]}, and the labels go from 0 to {classes - 1}"
        )
    try:
        height, width = dataset.image(0).shape[:2]
    except DataError:
        return  # the loader reports corrupt images
    if (height, width) != (preprocessing.size, preprocessing.size) and note:
        note(
            f"the crops are {width} x {height} and are resized to {preprocessing.size} x {preprocessing.size}; "
            "whole photos have to go through facedistill align first"
        )


def whole_parts(dataset: FaceDataset) -> Iterator[FaceDataset]:
    """The data sets that one is made of, without what chooses among them or joins them."""
    if isinstance(dataset, Subset):
        yield from whole_parts(dataset.dataset)
    elif isinstance(dataset, JoinedDataset):
        for part in dataset.parts:
            yield from whole_parts(part)
    else:
        yield dataset


def make_backbone(
    init: Path | None,
    *,
    name: str | None,
    width: float | None,
    embedding_size: int | None,
    fresh: BackboneSpec,
    input_size: int | None = None,
    init_color: str | None = None,
    note: Callable[[str], None] | None = None,
) -> tuple[nn.Module, BackboneSpec, Preprocessing]:
    """The backbone to train in training mode, how it is built, and what it expects of its input.

    Args:
        init: run folder, checkpoint or published weights to start from, None for a freshly initialised backbone.
        name: the backbone that is asked for, None for whatever `init` or `fresh` is.
        width: the width that is asked for, None likewise.
        embedding_size: the embedding size that is asked for, None likewise.
        fresh: what a fresh backbone is where nothing is asked for.
        input_size: the input size that is asked for in pixels, None for whatever `init` has, or 112.
        init_color: colour order of published weights.
        note: told what was assumed of them.

    Raises:
        ModelFileError: `init` cannot be loaded.
        UsageError: `init` is an ONNX file or another network than the one asked for, or there is no such backbone.
    """
    if init is None:
        if init_color is not None:
            raise UsageError("there are no weights to start from", place="--init-color", next_step="Add --init")
        spec = BackboneSpec(
            fresh.name if name is None else name,
            fresh.embedding_size if embedding_size is None else embedding_size,
            fresh.width if width is None else width,
        )
        preprocessing = Preprocessing() if input_size is None else Preprocessing(size=input_size)
        backbone = build_backbone(
            spec.name, embedding_size=spec.embedding_size, width=spec.width, input_size=preprocessing.size
        )
        return backbone, spec, preprocessing
    checkpoint = load_model_checkpoint(init, color=init_color, note=note)
    spec = checkpoint.spec
    asked = {
        "backbone": (name, spec.name),
        "width": (width, spec.width),
        "embedding size": (embedding_size, spec.embedding_size),
        "input size": (input_size, checkpoint.preprocessing.size),
    }
    for what, (wanted, there) in asked.items():
        if wanted is not None and wanted != there:
            raise UsageError(
                f"the {what} is {there} in the initial checkpoint and {wanted} was asked for",
                place=init,
                next_step="Leave the option out, or start from another checkpoint",
            )
    return checkpoint.backbone.train(), spec, checkpoint.preprocessing


def batch_of_process(options: TrainingOptions, images: int) -> int:
    """The images that each process has in a batch.

    Raises:
        UsageError: the batch cannot be shared out evenly.
        DataError: there are fewer images than would give each process two.
    """
    size, odd = divmod(options.batch_size, ranks())
    if odd or size < 2:
        raise UsageError(
            f"a batch of {options.batch_size} cannot be shared by {ranks()} processes evenly, with two images or more "
            "each",
            place="--batch-size",
            next_step=f"Use a multiple of {ranks()}, from {2 * ranks()} upwards",
        )
    if images < 2 * ranks():
        raise DataError(f"there are {images} images, and {ranks()} process(es) need two each")
    return size


def describe_run(
    command: str,
    options: BaseModel,
    dataset: FaceDataset,
    spec: BackboneSpec,
    preprocessing: Preprocessing,
    *,
    init: Path | None,
    inputs: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What `config.yaml` and every checkpoint of the run carry.

    Options and inputs stand at the top, as the command's `--config` takes them; under `run` stand the facts that
    follow from them.
    """
    pairs = None if inputs is None else inputs.get("pairs")
    given = {**({"init": init} if inputs is None else inputs), **options.model_dump(mode="json")}
    return {
        **{name: plain(value) for name, value in given.items() if value is not None},
        "run": {
            "facedistill": facedistill.__version__,
            "command": command,
            "processes": ranks(),
            **({} if pairs is None else {"benchmark": {"pairs": file_sha256(Path(pairs))}}),
            "backbone": spec.to_dict(),
            "preprocessing": preprocessing.to_dict(),
            "data": {
                "images": len(dataset),
                "identities": len(dataset.identities),
                "fingerprint": dataset.fingerprint,
            },
        },
    }


def provenance_of(config: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint carries of a run's configuration: all but the paths, which are nobody else's concern."""
    return {name: value for name, value in config.items() if name not in INPUTS}


def plain(value: Any) -> Any:
    """A value as YAML holds it; a path that exists as an absolute one, so that the run repeats from anywhere."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value.resolve() if value.exists() else value)
    return value


def require_same_run(run: RunFolder, config: dict[str, Any]) -> None:
    """Refuse to resume a run with anything else than it was started with.

    Raises:
        UsageError: an option, the data or the teacher is not what the run was started with.
    """
    before, now = comparable(run.read_config()), comparable(config)
    for name in [*before, *(name for name in now if name not in before)]:
        if before.get(name) != now.get(name):
            raise UsageError(
                f"the run was started with {name} {before.get(name)} and is resumed with {now.get(name)}",
                place=run.path,
                next_step="Resume with what it was started with (config.yaml), or start another run",
            )


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """The facts of a configuration that decide the result, flat."""
    run = config.get("run", {})
    facts = {"the command": run.get("command"), "the backbone": run.get("backbone")}
    facts |= {
        f"--{name.replace('_', '-')}": value
        for name, value in config.items()
        if name != "run" and name not in FREE_TO_CHANGE
    }
    data = run.get("data", {})
    facts["data"] = f"{data.get('images')} images ({str(data.get('fingerprint'))[:12]})"
    facts["the pair list"] = run.get("benchmark", {}).get("pairs")
    facts["the teacher"] = run.get("teacher", {}).get("fingerprint")
    facts["the class centres"] = run.get("class_centres")
    return facts
