"""A backbone as an ONNX graph."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import warnings
from collections import Counter
from typing import Any

import onnx
import torch

from facedistill.errors import ModelFileError

INPUT_NAME = "input"
OUTPUT_NAME = "embedding"
OPSET = 18

# Where the exporter keeps the modules that a node lies in, from the outermost on, and the node's own name at the end.
SCOPES = "pkg.torch.onnx.name_scopes"


def trace(backbone: torch.nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    """The backbone as an ONNX graph whose first axis is the batch; ModelFileError where the exporter fails."""
    chatter = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(chatter), quiet_exporter():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                backbone,
                (example,),
                dynamo=True,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter wraps whatever goes wrong in kinds of its own
        raise ModelFileError(f"the model cannot be exported to ONNX ({error})") from error
    if program is None:
        raise ModelFileError("the exporter returned nothing")
    model: onnx.ModelProto = program.model_proto
    name_by_module(model.graph)
    return model


def name_by_module(graph: onnx.GraphProto) -> None:
    """Call each node by the module that it belongs to, as blocks.3/PRelu, and drop what else the exporter says of it.

    That holds the paths of source files on the machine that exported, and is several times the size of a small network.
    """
    del graph.metadata_props[:]
    taken: Counter[str] = Counter()
    for node in graph.node:
        scopes = next((each.value for each in node.metadata_props if each.key == SCOPES), "[]")
        module = (ast.literal_eval(scopes) or [""])[-2:][0]
        name = f"{module}/{node.op_type}" if module else node.op_type
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.value_info, *graph.input, *graph.output):
        value.doc_string = ""
        del value.metadata_props[:]


@contextlib.contextmanager
def quiet_exporter() -> Any:
    """Silence the exporter's log, which speaks of its own passes."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
