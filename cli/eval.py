"""`facedistill eval`: the figures of one model on one or more benchmarks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facedistill.errors import UsageError

from . import benchmarks as b
from . import console
from . import options as o

if TYPE_CHECKING:
    from facedistill.embedders.load_model import Model
    from facedistill.evaluation.identification.ijb import IjbOptions, IjbResult
    from facedistill.evaluation.report import EvaluationReport
    from facedistill.evaluation.slices import SlicesResult
    from facedistill.evaluation.verification import VerificationResult

WRITTEN = "What is written"
TABLES = (".md", ".tex", ".csv")
WITHOUT = ("flip", "norm", "detector-score")


def eval_command(
    model: Annotated[
        Path,
        typer.Argument(
            help="A run folder, a .safetensors checkpoint, published weights (.pth), an .onnx file, or a cache of "
            "embeddings."
        ),
    ],
    pairs: b.Pairs = None,
    images: b.Images = None,
    bin_file: b.BinFile = None,
    all_pairs: b.AllPairs = None,
    identities: b.Identities = None,
    suite_file: b.SuiteFile = None,
    ijb: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="IJB-B or IJB-C in their published layout, 1:1 and 1:N. Repeatable.",
            rich_help_panel=b.BENCHMARKS,
        ),
    ] = None,
    ijb_without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help=f"Leave a part of IJB's descriptor out: {', '.join(WITHOUT)}. Repeatable.",
            rich_help_panel=b.BENCHMARKS,
        ),
    ] = None,
    slice_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="Figures by the values of a further column of the pair list in CSV. Repeatable."
        ),
    ] = None,
    slice_table: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="A table with a column 'image' that has the column of --slice-by instead."),
    ] = None,
    trained_on: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA", help="What the model was trained on, or a .txt of its people: shared people are told."
        ),
    ] = None,
    resamples: b.Resamples = 1000,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    batch_size: o.BatchSize = 64,
    device: o.Device = "auto",
    json_file: o.JsonFile = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help=f"Write the figures as a table ({', '.join(TABLES)}). Repeatable.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a page (.html): figures, curves, and the hardest pairs.",
            rich_help_panel=WRITTEN,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the ROC curves of the pairs (.png, .svg, .pdf).", rich_help_panel=WRITTEN
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write every picture of the report as .svg and .png.", rich_help_panel=WRITTEN
        ),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Verification accuracy, TAR at fixed FARs, and how sure they are, of MODEL on one or more benchmarks.

    The protocol is the field's own: original and mirrored embedding summed and normalised, squared L2 distance,
    the threshold of each fold picked on the other folds.
    """
    check_outputs(table or [], page, plot)
    if (plot or pictures) and not (pairs or bin_file or suite_file):
        raise UsageError("--plot and --pictures draw the pairs of --pairs and --bin, and none is given")
    b.check_resamples(resamples)
    if slice_table is not None and not slice_by:
        raise UsageError("--slice-table is given without --slice-by", next_step="Add --slice-by COLUMN")
    if slice_by and not pairs:
        raise UsageError("--slice-by is for the pairs of --pairs, and none is given")
    from facedistill.embedders.load_model import load_model
    from facedistill.evaluation.judge import judge_all_pairs, judge_pairs
    from facedistill.evaluation.report import EvaluationReport
    from facedistill.evaluation.slice_values import read_pair_values
    from facedistill.evaluation.trained_on import read_people

    options = ijb_options(ijb_without or [])
    suite = b.open_suite(pairs, images, bin_file, all_pairs, identities, suite_file, more=bool(ijb))
    if slice_table is None:
        for path in pairs or []:
            for column in slice_by or []:
                read_pair_values(path, column)  # a misspelt column is told before anything is embedded
    trained = None if trained_on is None else read_people(trained_on)
    found = load_model(model, device=device, color=color, mean=mean, std=std, note=console.note)
    how: dict[str, Any] = {
        "trained": trained,
        "batch_size": batch_size,
        "resamples": resamples,
        "progress": partial(console.progress, quiet=quiet),
    }
    results = [judge_pairs(found, benchmark, **how) for benchmark in suite.benchmarks]
    report = EvaluationReport(
        found.name,
        found.fingerprint,
        found.preprocessing.to_dict(),
        results=tuple(results),
        all_pairs=tuple(judge_all_pairs(found, part, **how) for part in suite.labelled),
        ijb=evaluate_ijb_folders(found, ijb or [], options, batch_size=batch_size, quiet=quiet),
        slices=tuple(
            slice_of(result, column, slice_table) for result in results[: len(pairs or [])] for column in slice_by or []
        ),
    )
    show(report, quiet=quiet)
    console.write_json(json_file, report.to_dict())
    write(report, table or [], page, plot, pictures)


def check_outputs(tables: list[Path], page: Path | None, plot: Path | None) -> None:
    """UsageError for files that cannot be written, before there is anything to write."""
    for table in tables:
        if table.suffix not in TABLES:
            raise UsageError(
                f"a table cannot be written as '{table.suffix}'", place=table, next_step=f"Use {', '.join(TABLES)}"
            )
    if page is not None and page.suffix not in (".html", ".htm"):
        raise UsageError(f"a page cannot be written as '{page.suffix}'", place=page, next_step="Use .html")
    if plot is not None:
        from facedistill.evaluation.roc_plot import check_plot_path

        check_plot_path(plot)


def ijb_options(without: list[str]) -> IjbOptions:
    """How IJB's descriptors are made."""
    from facedistill.errors import unknown_name
    from facedistill.evaluation.identification.ijb import IjbOptions

    for part in without:
        if part not in WITHOUT:
            raise unknown_name("part of the descriptor", part, WITHOUT)
    return IjbOptions(
        flip="flip" not in without, keep_norm="norm" not in without, detector_score="detector-score" not in without
    )


def evaluate_ijb_folders(
    model: Model, folders: list[Path], options: IjbOptions, *, batch_size: int, quiet: bool
) -> tuple[IjbResult, ...]:
    """The results of every folder; UsageError where a cache is to be judged on one."""
    from facedistill.embedders.cache import EmbeddingCache
    from facedistill.evaluation.identification.ijb import evaluate_ijb

    results = []
    for folder in folders:
        if isinstance(model, EmbeddingCache):
            raise UsageError("IJB's images are aligned as they are read, which a cache cannot do", place="--ijb")
        with console.progress(folder.name, quiet=quiet) as progress:
            results.append(evaluate_ijb(model, folder, options=options, batch_size=batch_size, progress=progress))
    return tuple(results)


def slice_of(result: VerificationResult, column: str, table: Path | None) -> SlicesResult:
    """A pair list's figures by a column of its own, or of a table of images."""
    from facedistill.evaluation.slice_values import read_image_values, read_pair_values
    from facedistill.evaluation.slices import slice_pairs

    assert result.judged is not None  # noqa: S101
    assert result.source is not None  # noqa: S101
    if table is None:
        values = read_pair_values(Path(result.source), column)
    else:
        values = read_image_values(table, column, result.judged)
    return slice_pairs(
        result.judged,
        values.values,
        name=result.name,
        column=values.column,
        order=values.order,
        source=values.source,
        source_sha256=values.source_sha256,
    )


def show(report: EvaluationReport, *, quiet: bool) -> None:
    """Print the tables, what belongs below them, and the warnings."""
    for columns, rows in report.tables():
        console.print_table("", columns, rows, quiet=quiet)
    for line in report.footnotes():
        console.say(line, quiet=quiet)
    for warning in report.warnings():
        console.note(warning)


def write(
    report: EvaluationReport, tables: list[Path], page: Path | None, plot: Path | None, pictures: Path | None
) -> None:
    """Write the files that were asked for."""
    from facedistill.files import write_atomically

    for table in tables:
        from facedistill.evaluation.report_page.paper_tables import to_csv, to_latex, to_markdown

        spell = {".md": to_markdown, ".tex": to_latex, ".csv": to_csv}[table.suffix]
        write_atomically(table, spell(report).encode())
    if page is not None:
        from facedistill.evaluation.report_page.page import write_report_page

        write_report_page(report, page)
    if plot is not None:
        report.plot(plot)
    if pictures is not None:
        from facedistill.evaluation.report_page.pictures import write_pictures

        write_pictures(report, pictures)
