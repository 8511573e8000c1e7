"""Write a network as an ONNX file, and refuse it unless it does what its source does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

import facedistill
from facedistill.checkpoint import Checkpoint
from facedistill.embedders.onnx_embedder import PREPROCESSING_KEY, OnnxEmbedder
from facedistill.errors import GateError, ModelFileError
from facedistill.evaluation.benchmark import Benchmark
from facedistill.evaluation.judge import Progress
from facedistill.export.accuracy import MAX_DROP, Drop, hold_accuracy, measure_drop
from facedistill.export.blame import first_difference
from facedistill.export.crops import Crops, noise
from facedistill.export.forms import copied, give_form, in_precision
from facedistill.export.graph import check_graph, convert_opset, shorten_names
from facedistill.export.options import ExportOptions
from facedistill.export.parity import BATCHES, Parity, hold_parity, measure_parity
from facedistill.export.result import ExportResult
from facedistill.export.saved_thresholds import KEY as THRESHOLDS
from facedistill.export.source import ExportSource, source_of_checkpoint
from facedistill.files import file_sha256
from facedistill.models.onnx_complexity import measure_onnx
from facedistill.preprocessing import Preprocessing


def export_onnx(checkpoint: Checkpoint, path: Path, options: ExportOptions | None = None) -> ExportResult:
    """`export_model` of a checkpoint; errors as of that and of `source_of_checkpoint`."""
    return export_model(source_of_checkpoint(checkpoint), path, options or ExportOptions())


def export_model(
    source: ExportSource,
    path: Path,
    options: ExportOptions,
    *,
    crops: Crops | None = None,
    benchmarks: Sequence[Benchmark] = (),
    max_drop: float = MAX_DROP,
    licences: Mapping[str, str] | None = None,
    note: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Write `source` as an ONNX file with a dynamic batch, described by its own metadata.

    The file appears at `path` only if its graph is sound, if its embeddings are those of the source within what the
    precision promises (`hold_parity`), and if it loses no more accuracy than it may.

    Args:
        source: the network.
        path: the file to write, ending in `.onnx`.
        options: its form.
        crops: aligned crops; int8 is calibrated on them, and every precision is judged by those held out.
        benchmarks: on which the accuracy is not to fall.
        max_drop: by how many points it may.
        licences: "teacher" and "data" -> the terms that they come under, for the metadata.
        note: receives one line about each thing that was chosen or left out.
        progress: shows how far the quantising and the judging are.

    Raises:
        UsageError: int8 without crops, or a layout that the network can't be turned to.
        ModelFileError: the network cannot be written in this form, or `path` cannot be written.
        GateError: the file is not what it should be; it says how, and which layer is the first to differ.
    """
    side = source.preprocessing.size
    if crops is not None and note and (given := crops.held_out.shape[1]) != side:
        note(
            f"{crops.name}: the images are {given} x {given} pixels and are resized to {side} x {side}; crops aligned "
            "for this model say more of what it will see"
        )
    with partial_file(path) as partial:
        plain = convert_opset(source.network, options.opset)
        with (progress or silent)("quantising one layer at a time") as tell:
            rounded = in_precision(plain, options, source.preprocessing, crops, note=note, progress=tell)
        network = copied(rounded.network)
        if options.precision in ("int8", "int8-weights"):
            shorten_names(network)
        preprocessing = give_form(network, options, source.preprocessing)
        describe(network, source, options, preprocessing, rounded.quantisation, licences or {}, note)
        try:
            check_graph(network)
            onnx.save(network, partial)
            embedder = OnnxEmbedder(partial, device="cpu")
            parity = judge_parity(source, embedder, options, crops)
            drops = judge_accuracy(source, embedder, benchmarks, max_drop, progress)
        except GateError as error:
            found = first_difference(rounded.plain, rounded.network, source.preprocessing, crops)
            cause = error.cause if error.place is None else f"{error.place}: {error.cause}"
            raise GateError(f"{cause}; {found}", place=path, next_step="No file was written") from error
        parameters = measure_onnx(partial).parameters
        partial.replace(path)
    return ExportResult(
        path=path,
        source=source.name,
        source_sha256=source.reference.fingerprint,
        file_bytes=path.stat().st_size,
        fp32_bytes=plain.ByteSize(),
        sha256=file_sha256(path),
        parameters=parameters,
        embedding_size=source.reference.embedding_size,
        preprocessing=str(preprocessing),
        options=options,
        parity=parity,
        quantisation=rounded.quantisation,
        drops=drops,
    )


@contextlib.contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, gone in the end unless it was renamed; ModelFileError where none can be."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise ModelFileError(
            f"the file cannot be written ({error.strerror})", place=path, next_step="Choose another folder"
        ) from error
    try:
        yield partial
    except OSError as error:
        raise ModelFileError(f"the file cannot be written ({error.strerror})", place=path) from error
    finally:
        partial.unlink(missing_ok=True)


def describe(
    network: onnx.ModelProto,
    source: ExportSource,
    options: ExportOptions,
    preprocessing: Preprocessing,
    quantisation: Mapping[str, Any] | None,
    licences: Mapping[str, str],
    note: Callable[[str], None] | None,
) -> None:
    """Write what a user of the file has to know into its metadata."""
    network.producer_name = "facedistill"
    network.producer_version = facedistill.__version__
    facts: dict[str, str] = dict(source.facts)
    left_out = None if options.precision == "fp32" else facts.pop(THRESHOLDS, None)
    if left_out and note:
        note(
            f"the thresholds in {source.name} hold for its own precision and are left out; "
            "measure them again with facedistill threshold --save"
        )
    facts |= {
        PREPROCESSING_KEY: json.dumps(preprocessing.to_dict()),
        "facedistill.embedding_size": str(source.reference.embedding_size),
        "facedistill.precision": options.precision,
        "facedistill.input": options.input,
        "facedistill.normalised": json.dumps(options.normalise),
        **{f"facedistill.{kind}_license": terms for kind, terms in licences.items()},
    }
    if quantisation is not None:
        facts["facedistill.quantisation"] = json.dumps(quantisation)
    onnx.helper.set_model_props(network, facts)


def judge_parity(
    source: ExportSource, embedder: OnnxEmbedder, options: ExportOptions, crops: Crops | None
) -> tuple[Parity, ...]:
    """Compare the result with its source on random pixels and, where there are crops, on those held out."""
    pixels = noise(source.preprocessing.size, max(BATCHES))
    of_noise = measure_parity(source.reference.embed(pixels), embedder, pixels, "images of random pixels")
    if crops is None:
        hold_parity(options.precision, of_noise, None)
        return (of_noise,)
    expected = source.reference.embed(crops.held_out)
    of_crops = measure_parity(expected, embedder, crops.held_out, f"crops of {crops.name}")
    hold_parity(options.precision, of_noise, of_crops)
    return of_noise, of_crops


def judge_accuracy(
    source: ExportSource,
    embedder: OnnxEmbedder,
    benchmarks: Sequence[Benchmark],
    max_drop: float,
    progress: Progress | None,
) -> tuple[Drop, ...]:
    """The accuracy of both on every benchmark; GateError where it falls by more than it may."""
    if not benchmarks:
        return ()
    drops = measure_drop(source.reference, embedder, benchmarks, progress=progress or silent)
    hold_accuracy(drops, max_drop)
    return drops


@contextlib.contextmanager
def silent(name: str) -> Iterator[Callable[[int, int], None]]:
    """Shows nothing."""
    yield lambda done, count: None
