"""Tiny ONNX networks in the form of SCRFD's and YuNet's, whose answers can be computed by hand.

A cell of 8 pixels fires where it is red, one of 16 where it is green, one of 32 where it is blue; boxes and keypoints
are constants that `Head` holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Head:
    """What one anchor answers where its cell fires.

    Attributes:
        score: of a cell that is wholly of the colour.
        box: four numbers.
        keypoints: ten numbers.
    """

    score: float
    box: Sequence[float]
    keypoints: Sequence[float]


def write_network(
    path: Path,
    heads: Sequence[Sequence[Head]],
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    blue_first: bool = False,
    second_score: float | None = None,
    size: tuple[int, int] | None = None,
    pictures: int | str = "n",
    flat: bool = False,
    keypoints: bool = True,
    columns: Sequence[int] = (1, 4, 10),
    reverse: bool = False,
) -> Path:
    """Write a network.

    Args:
        path: the file.
        heads: the anchors of each stride.
        scale, offset: what the network gets, times scale, plus offset, is the value of 0 to 255.
        blue_first: channel 0 is blue.
        second_score: a second output of scores, the same number everywhere.
        size: height and width of its input, None for any.
        pictures: number of its input.
        flat: outputs without the axis of pictures, the pictures of a batch mixed: the first form of SCRFD's exports.
        keypoints: whether there are any.
        columns: of the outputs; others than these make it a foreign network.
        reverse: the outputs the other way round.
    """
    nodes, weights, outputs = [], [], []

    def add(kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind}_{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(value: object) -> str:
        name = f"weight_{len(weights)}"
        weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def give(name: str, cells: str, width: int) -> None:
        if flat:
            turned = add("Transpose", cells, perm=[2, 3, 0, 1])
            shaped = add("Reshape", turned, constant(np.array([-1, width], np.int64)))
        else:
            turned = add("Transpose", cells, perm=[0, 2, 3, 1])
            shaped = add("Reshape", turned, constant(np.array([0, -1, width], np.int64)))
        nodes.append(helper.make_node("Identity", [shaped], [name]))
        shape = [None, width] if flat else [None, None, width]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    for stride, colour, anchors in zip(STRIDES, range(3), heads, strict=True):
        cells = add("AveragePool", "input", kernel_shape=[stride, stride], strides=[stride, stride])
        channel = 2 - colour if blue_first else colour
        weight = np.full((len(anchors), 3, 1, 1), -scale / 255, np.float32)
        weight[:, channel] *= -1
        bias = np.full(len(anchors), -offset / 255, np.float32)
        fired = add("Conv", cells, constant(weight), constant(bias))
        fired = add("Clip", fired, constant(np.float32(0)), constant(np.float32(1)))
        strength = np.array([head.score for head in anchors], np.float32).reshape(1, -1, 1, 1)
        kinds = [("cls", add("Mul", fired, constant(strength)), columns[0])]
        constants: dict[str, Sequence[Sequence[float]]] = {}
        if second_score is not None:
            constants["obj"] = [[second_score]] * len(anchors)
        constants["bbox"] = [head.box for head in anchors]
        if keypoints:
            constants["kps"] = [head.keypoints for head in anchors]
        for name, values in constants.items():
            flattened = np.asarray(values, np.float32).ravel()
            nothing = constant(np.zeros((len(flattened), 3, 1, 1), np.float32))
            width = columns[{"obj": 0, "bbox": 1, "kps": 2}[name]]
            kinds.append((name, add("Conv", cells, nothing, constant(flattened)), width))
        for name, maps, width in kinds:
            give(f"{name}_{stride}", maps, width)
    outputs.sort(key=lambda output: ["cls", "obj", "bbox", "kps"].index(output.name.split("_")[0]))
    shape = [pictures, 3, *(size or ("height", "width"))]
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "made", [taken], outputs[::-1] if reverse else outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def paint(shape: tuple[int, int], *blocks: tuple[int, int, int, int]) -> np.ndarray:
    """A black (H, W, 3) uint8 photo with square blocks: channel, x and y of the upper left, side."""
    photo = np.zeros((*shape, 3), np.uint8)
    for channel, x, y, side in blocks:
        photo[y : y + side, x : x + side, channel] = 255
    return photo
