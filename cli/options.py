"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GENERAL = "General"
TRAINING = "Training"
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
Pairs = Annotated[
    Path | None, typer.Option(metavar="LIST", help="Pair list to follow while training.", rich_help_panel=BENCHMARK)
]
Images = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Images that the pair list names.", rich_help_panel=BENCHMARK)
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
    typer.Option(help="Threads that decode images; one a processor, at most 8.", rich_help_panel=TRAINING),
]
Mirror = Annotated[bool, typer.Option(help="Mirror every second crop at random.", rich_help_panel=TRAINING)]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first corrupt image instead of leaving it out.")]
EmbeddingSize = Annotated[int | None, typer.Option(help="Length of the embedding.")]
Color = Annotated[str | None, typer.Option(help="Colour order of a foreign ONNX file: rgb or bgr.")]
Mean = Annotated[float | None, typer.Option(help="Mean of a foreign ONNX file, 0..255 scale.")]
Std = Annotated[float | None, typer.Option(help="Standard deviation of a foreign ONNX file, 0..255 scale.")]
