"""The options that `train-teacher` and `distill` share, declared once and written into the signature of both."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from . import options as o

OPTIMISATION = "Optimisation"
LOADING = "Loading and speed"
AUGMENTATION = "Augmentation"
BENCHMARK = "Benchmark to follow"
RUN = "Records and saved states"


def option(panel: str, text: str, metavar: str | None = None) -> Any:
    """A Typer option of a panel of the help."""
    return typer.Option(help=text, metavar=metavar, rich_help_panel=panel)


def chance(what: str) -> Any:
    """The option of an augmentation."""
    return option(AUGMENTATION, f"Chance that an image is {what}.", "P")


def numbers(value: Any) -> Any:
    """Numbers written with commas between them, or a list of them as a YAML file gives it."""
    if isinstance(value, (list, tuple)):
        return tuple(float(item) for item in value)
    return tuple(float(item) for item in str(value).split(",") if item.strip())


@dataclass(frozen=True)
class TrainingArguments:
    """What every training command can be told beside its own options."""

    init: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN_OR_CKPT", help="Start from the backbone of this run, checkpoint or published weights."
        ),
    ] = None
    init_color: Annotated[
        str | None, typer.Option(help="Colour order of published weights to start from: rgb or bgr.")
    ] = None
    identities: o.Identities = None
    exclude: o.Exclude = None
    epochs: Annotated[int, option(OPTIMISATION, "Passes over the data.")] = 20
    batch_size: Annotated[int, option(OPTIMISATION, "Images in a batch, of all processes together.")] = 128
    accumulate: Annotated[int, option(OPTIMISATION, "Batches that make a step.", "N")] = 1
    lr: Annotated[float, option(OPTIMISATION, "Highest learning rate.")] = 0.1
    schedule: Annotated[str, option(OPTIMISATION, "How it falls: cosine, poly, step or constant.")] = "cosine"
    milestones: Annotated[
        Any,
        typer.Option(
            metavar="E,E,...",
            help="step: the epochs at which it falls, such as 8,14,20.",
            parser=numbers,
            show_default=False,
            rich_help_panel=OPTIMISATION,
        ),
    ] = ""
    gamma: Annotated[float, option(OPTIMISATION, "step: what it is multiplied by there.")] = 0.1
    power: Annotated[float, option(OPTIMISATION, "poly: 1 is a straight line to 0.")] = 1.0
    lr_floor: Annotated[float, option(OPTIMISATION, "Share of --lr that it does not fall below.", "SHARE")] = 0.0
    warmup_epochs: Annotated[float, option(OPTIMISATION, "Epochs in which it rises first.")] = 1.0
    optimizer: Annotated[str, option(OPTIMISATION, "sgd or adamw.")] = "sgd"
    momentum: Annotated[float, option(OPTIMISATION, "Momentum of sgd.")] = 0.9
    nesterov: Annotated[bool, option(OPTIMISATION, "Nesterov's momentum.")] = False
    weight_decay: Annotated[float, option(OPTIMISATION, "Weight decay of matrices and kernels.")] = 5e-4
    clip_norm: Annotated[float, option(OPTIMISATION, "Longest gradient; a longer one is shortened.")] = 5.0
    ema: Annotated[
        float, option(OPTIMISATION, "Keep a running average of the weights, such as 0.999, and make it the result.")
    ] = 0.0
    seed: o.Seed = 0
    device: o.Device = "auto"
    precision: Annotated[str, option(LOADING, "32, bf16 or 16 (mixed); losses are always 32.")] = "32"
    channels_last: Annotated[bool, option(LOADING, "Lay convolutions out with the channels last.")] = True
    compile: Annotated[bool, typer.Option("--compile", help="Compile the backbone.", rich_help_panel=LOADING)] = False
    workers: Annotated[
        int | None,
        option(
            LOADING,
            "Processes that decode images; 0: threads of this one. On the CPU 0, on a GPU one a processor, at most 8.",
        ),
    ] = None
    find_batch_size: Annotated[
        bool,
        typer.Option(
            "--find-batch-size", help="Try how large a batch the GPU has room for, and stop.", rich_help_panel=LOADING
        ),
    ] = False
    max_corrupt: Annotated[
        float,
        option(
            LOADING,
            "Corrupt images are replaced and listed; stop where more than this share is, 0 at the first.",
            "SHARE",
        ),
    ] = 0.01
    mirror: Annotated[bool, option(AUGMENTATION, "Mirror every second crop at random.")] = True
    augment_crop: Annotated[float, chance("cropped at random and resized")] = 0.0
    augment_occlusion: Annotated[float, chance("covered in part")] = 0.0
    augment_photometric: Annotated[float, chance("changed in brightness, contrast and saturation")] = 0.0
    augment_low_resolution: Annotated[float, chance("made smaller and enlarged again")] = 0.0
    augment_jpeg: Annotated[float, chance("compressed as a poor JPEG")] = 0.0
    pairs: Annotated[Path | None, option(BENCHMARK, "Pair list to follow while training.", "LIST")] = None
    images: Annotated[Path | None, option(BENCHMARK, "Images that the pair list names.", "DATA")] = None
    eval_every: Annotated[int | None, option(BENCHMARK, "Steps between evaluations (one an epoch).", "STEPS")] = None
    patience: Annotated[
        int | None, option(BENCHMARK, "Stop after so many evaluations that were no better than the best.", "N")
    ] = None
    log_every: Annotated[int, option(RUN, "Steps of a record; the end of an epoch makes one too.", "STEPS")] = 500
    save_every: Annotated[int | None, option(RUN, "Save after every so many steps.", "STEPS")] = None
    save_minutes: Annotated[float, option(RUN, "Save after so many minutes.", "MIN")] = 15.0
    keep: Annotated[int, option(RUN, "Saved states to keep.", "N")] = 2
    logger: Annotated[
        list[str], option(RUN, "Send the records here too: tensorboard, wandb, mlflow or trackio; repeatable.", "NAME")
    ] = field(default_factory=list)
    overwrite: o.Overwrite = False
    resume: Annotated[
        str,
        typer.Option(
            metavar="yes|auto",
            help="Go on with an interrupted run; auto: if there is one, and begin otherwise.",
            rich_help_panel=o.GENERAL,
        ),
    ] = "no"
    json_file: o.JsonFile = None
    quiet: o.Quiet = False

    def to_dict(self) -> dict[str, Any]:
        """By name."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each field of `TrainingArguments` as an option of its own, in place of its last parameter.

    Args:
        command: its last parameter is called `shared`, and gets the options as one `TrainingArguments`.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "shared"]
    hints = get_type_hints(TrainingArguments, include_extras=True)
    shared = [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=[] if item.default is dataclasses.MISSING else item.default,
            annotation=hints[item.name],
        )
        for item in dataclasses.fields(TrainingArguments)
    ]
    names = {parameter.name for parameter in shared}

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        given = TrainingArguments(**{name: arguments.pop(name) for name in names & arguments.keys()})
        command(**arguments, shared=given)

    by_keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    wrapper.__signature__ = signature.replace(parameters=[*by_keyword, *shared])  # type: ignore[attr-defined]
    return wrapper
