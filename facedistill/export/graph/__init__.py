"""Changes to the graph of an ONNX embedding network, one a file."""

from facedistill.export.graph.batch_axis import free_batch_axis
from facedistill.export.graph.batch_norms import fold_batch_norms
from facedistill.export.graph.channels_last import channels_last_input
from facedistill.export.graph.checked_graph import check_graph
from facedistill.export.graph.network_file import read_network
from facedistill.export.graph.opset import convert_opset
from facedistill.export.graph.pixel_input import take_pixels
from facedistill.export.graph.prelus import fuse_prelus
from facedistill.export.graph.short_names import shorten_names
from facedistill.export.graph.unit_output import normalise_output

__all__ = [
    "channels_last_input",
    "check_graph",
    "convert_opset",
    "fold_batch_norms",
    "free_batch_axis",
    "fuse_prelus",
    "normalise_output",
    "read_network",
    "shorten_names",
    "take_pixels",
]
