"""An exported file, and what was found out about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedistill.export.accuracy import Drop
from facedistill.export.options import ExportOptions
from facedistill.export.parity import Parity
from facedistill.export.trace import INPUT_NAME, OUTPUT_NAME


@dataclass(frozen=True)
class ExportResult:
    """An exported file and how closely it follows its source.

    Attributes:
        path: the ONNX file.
        source: what it was made of.
        source_sha256: of that file, empty if there was none.
        file_bytes: its size.
        fp32_bytes: the size that it would have in fp32.
        sha256: of the file, as hex.
        parameters: of the network.
        embedding_size: D.
        preprocessing: stated in the file's metadata.
        options: its form.
        parity: on random pixels and, where crops were given, on those that nothing was calibrated on.
        quantisation: how it was quantised, JSON-ready; None in fp32 and fp16.
        drops: the accuracy before and after, of each benchmark.
    """

    path: Path
    source: str
    source_sha256: str
    file_bytes: int
    fp32_bytes: int
    sha256: str
    parameters: int
    embedding_size: int
    preprocessing: str
    options: ExportOptions
    parity: tuple[Parity, ...]
    quantisation: Mapping[str, Any] | None = None
    drops: tuple[Drop, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "file": str(self.path),
            "source": self.source,
            "source_sha256": self.source_sha256,
            "bytes": self.file_bytes,
            "fp32_bytes": self.fp32_bytes,
            "sha256": self.sha256,
            "parameters": self.parameters,
            "embedding_size": self.embedding_size,
            "preprocessing": self.preprocessing,
            "precision": self.options.precision,
            "input": self.options.input,
            "normalised": self.options.normalise,
            "opset": self.options.opset,
            "parity": [each.to_dict() for each in self.parity],
            "quantisation": self.quantisation,
            "accuracy": [each.to_dict() for each in self.drops],
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Column names and rows to print."""
        options = self.options
        size = f"{self.file_bytes / 1e6:.2f} MB"
        if options.precision != "fp32":
            size += f", {self.file_bytes / self.fp32_bytes:.2f} of fp32"
        pixels = options.input == "uint8-rgb"
        taken = "uint8 pixels of RGB crops, (N, S, S, 3); inside: " if pixels else "float32, "
        rows: list[tuple[str, ...]] = [
            ("file", str(self.path)),
            ("size", size),
            ("precision", options.precision),
            ("parameters", f"{self.parameters / 1e6:.3f} M"),
            ("input", f"{INPUT_NAME}, {taken}{self.preprocessing}"),
            (
                "output",
                f"{OUTPUT_NAME}, float32, {self.embedding_size} dimensions, "
                f"{'of length 1' if options.normalise else 'not normalised'}",
            ),
            ("opset", str(options.opset)),
            *calibrated_rows(self.quantisation or {}),
            *(("beside its source", str(each)) for each in self.parity),
            *(
                (
                    f"accuracy on {drop.benchmark}",
                    f"{100 * drop.after:.2f} %, the source {100 * drop.before:.2f} %",
                )
                for drop in self.drops
            ),
        ]
        return ("property", "value"), rows


def calibrated_rows(quantisation: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """How activations were quantised, a row to print; none where they were not."""
    if "method" not in quantisation:
        return []
    kept = [*quantisation["excluded_layers"], *quantisation["sensitive_layers"]]
    return [
        (
            "calibrated",
            f"on {quantisation['crops']} crops of {quantisation['data']}, ranges by {quantisation['method']}; "
            f"{quantisation['quantised_layers']} layers in 8 bits, in float {', '.join(kept) or 'none'}",
        )
    ]
