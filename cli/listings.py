"""`facedistill models`, `heads`, `methods` and `detectors`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import options as o
from .console import print_table, write_json

if TYPE_CHECKING:
    from facedistill.registry import Registry


def models(json_file: o.JsonFile = None, quiet: o.Quiet = False) -> None:
    """List the backbones with their parameters and multiply-adds."""
    import torch

    from facedistill.models import BACKBONES, build_backbone, default_embedding_size
    from facedistill.models.complexity import measure_complexity

    facts: list[dict[str, Any]] = []
    for entry in BACKBONES:
        size = default_embedding_size(entry.name)
        with torch.device("meta"):
            backbone = build_backbone(entry.name, embedding_size=size)
        complexity = measure_complexity(backbone, input_size=112)
        facts.append(
            {
                "name": entry.name,
                "embedding_size": size,
                "input_size": 112,
                "parameters": complexity.parameters,
                "multiply_adds": complexity.multiply_adds,
                "summary": entry.summary,
                "source": entry.source,
            }
        )
    rows = [
        (
            fact["name"],
            str(fact["embedding_size"]),
            f"{fact['parameters'] / 1e6:.2f} M",
            f"{fact['multiply_adds'] / 1e6:.0f} M",
            fact["summary"],
            fact["source"],
        )
        for fact in facts
    ]
    columns = ("backbone", "embedding", "parameters", "multiply-adds", "what it is", "source")
    print_table("Backbones at width 1, 112 x 112", columns, rows, quiet=quiet)
    write_json(json_file, facts)


def heads(json_file: o.JsonFile = None, quiet: o.Quiet = False) -> None:
    """List the margin heads."""
    from facedistill.heads import HEADS

    list_registry("Margin heads", HEADS, json_file, quiet)


def methods(json_file: o.JsonFile = None, quiet: o.Quiet = False) -> None:
    """List the distillation methods."""
    from facedistill.distill import METHODS

    list_registry("Distillation methods", METHODS, json_file, quiet)


def detectors(json_file: o.JsonFile = None, quiet: o.Quiet = False) -> None:
    """List the face detectors, the licences of their weights, and whether they can run here."""
    from facedistill.align.detectors import DETECTORS

    facts: list[dict[str, Any]] = []
    for entry in DETECTORS:
        info = entry.factory.info
        facts.append(
            {
                "name": entry.name,
                "summary": entry.summary,
                "source": entry.source,
                "weights": info.weights,
                "licence": info.licence,
                "missing": info.missing(),
            }
        )
    rows = [
        (fact["name"], fact["summary"], fact["weights"], fact["licence"], fact["missing"] or "yes") for fact in facts
    ]
    columns = ("detector", "what it is", "weights", "licence of the weights", "runs here")
    print_table("Face detectors", columns, rows, quiet=quiet)
    write_json(json_file, facts)


def list_registry(title: str, registry: Registry[Any], json_file: o.JsonFile, quiet: bool) -> None:
    """Print and write the entries of a registry."""
    rows = [(entry.name, entry.summary, entry.source) for entry in registry]
    print_table(title, ("name", "what it is", "source"), rows, quiet=quiet)
    write_json(json_file, [{"name": name, "summary": summary, "source": source} for name, summary, source in rows])
