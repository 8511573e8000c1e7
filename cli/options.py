"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GENERAL = "General"
TRAINING = "Training"
AUGMENTATION = "Augmentation"
BENCHMARK = "Benchmark to follow"

JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.", rich_help_panel=GENERAL)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.", rich_help_panel=GENERAL)]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=GENERAL)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.", rich_help_panel=GENERAL)]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.", rich_help_panel=GENERAL)]
Identities = Annotated[
    Path | None,
    typer.Option(metavar="LIST", help="Use only these people: one name a line, or LFW's name<TAB>count."),
]
Data = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA...",
        help="Aligned crops: a folder with one sub-folder a person, a .rec, tar shards, a list; several are joined.",
        show_default=False,
    ),
]
Exclude = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Leave out what this list names; inspect --exclude-list writes one."),
]
Pairs = Annotated[
    Path | None, typer.Option(metavar="LIST", help="Pair list to follow while training.", rich_help_panel=BENCHMARK)
]
Images = Annotated[
    Path | None, typer.Option(metavar="DATA", help="Images that the pair list names.", rich_help_panel=BENCHMARK)
]
Init = Annotated[
    Path | None, typer.Option(metavar="RUN_OR_CKPT", help="Start from the backbone of this run or checkpoint.")
]
Epochs = Annotated[int, typer.Option(help="Passes over the data.", rich_help_panel=TRAINING)]
BatchSize = Annotated[int, typer.Option(help="Images a step.", rich_help_panel=TRAINING)]
Lr = Annotated[
    float, typer.Option(help="Highest learning rate; it falls to 0 along a cosine.", rich_help_panel=TRAINING)
]
Seed = Annotated[int, typer.Option(help="Decides everything random.", rich_help_panel=TRAINING)]
Optimizer = Annotated[str, typer.Option(help="sgd or adamw.", rich_help_panel=TRAINING)]
WeightDecay = Annotated[float, typer.Option(help="Weight decay of matrices and kernels.", rich_help_panel=TRAINING)]
WarmupEpochs = Annotated[float, typer.Option(help="Epochs of linear warm-up.", rich_help_panel=TRAINING)]
Precision = Annotated[str, typer.Option(help="32, bf16 or 16 (mixed); losses are always 32.", rich_help_panel=TRAINING)]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Processes that decode images; 0: threads of this one. On the CPU 0, on a GPU one a processor, at most 8.",
        rich_help_panel=TRAINING,
    ),
]
Mirror = Annotated[bool, typer.Option(help="Mirror every second crop at random.", rich_help_panel=AUGMENTATION)]
MaxCorrupt = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Corrupt images are replaced and listed; stop where more than this share is, 0 at the first.",
        rich_help_panel=TRAINING,
    ),
]
_CHANCE = "Chance that an image is "
AugmentCrop = Annotated[
    float, typer.Option(metavar="P", help=_CHANCE + "cropped at random and resized.", rich_help_panel=AUGMENTATION)
]
AugmentOcclusion = Annotated[
    float, typer.Option(metavar="P", help=_CHANCE + "covered in part.", rich_help_panel=AUGMENTATION)
]
AugmentPhotometric = Annotated[
    float,
    typer.Option(
        metavar="P", help=_CHANCE + "changed in brightness, contrast and saturation.", rich_help_panel=AUGMENTATION
    ),
]
AugmentLowResolution = Annotated[
    float, typer.Option(metavar="P", help=_CHANCE + "made smaller and enlarged again.", rich_help_panel=AUGMENTATION)
]
AugmentJpeg = Annotated[
    float, typer.Option(metavar="P", help=_CHANCE + "compressed as a poor JPEG.", rich_help_panel=AUGMENTATION)
]
EmbeddingSize = Annotated[int | None, typer.Option(help="Length of the embedding.")]
Color = Annotated[str | None, typer.Option(help="Colour order of a foreign ONNX file: rgb or bgr.")]
Mean = Annotated[float | None, typer.Option(help="Mean of a foreign ONNX file, 0..255 scale.")]
Std = Annotated[float | None, typer.Option(help="Standard deviation of a foreign ONNX file, 0..255 scale.")]
