"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GENERAL = "General"

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
InputSize = Annotated[int | None, typer.Option(help="Side of the input in pixels (112, or that of --init).")]
EmbeddingSize = Annotated[int | None, typer.Option(help="Length of the embedding.")]
Color = Annotated[str | None, typer.Option(help="Colour order of published weights or foreign ONNX: rgb or bgr.")]
Mean = Annotated[float | None, typer.Option(help="Mean of such a model, 0..255 scale.")]
Std = Annotated[float | None, typer.Option(help="Standard deviation of such a model, 0..255 scale.")]
Seed = Annotated[int, typer.Option(help="Decides everything random.", rich_help_panel=GENERAL)]
BatchSize = Annotated[int, typer.Option(min=1, help="Images a call of the network.")]
