"""`facedistill models`, `heads`, `methods` and `detectors`: what there is."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as o
from .console import note, print_table, say, write_json

if TYPE_CHECKING:
    from facedistill.distill import MethodKind
    from facedistill.registry import Entry, Registry


def models(
    name: Annotated[
        str | None, typer.Argument(help="One backbone, such as mobilefacenet or timm:resnet18.", show_default=False)
    ] = None,
    width: Annotated[float, typer.Option(help="Multiplier of the channel counts.")] = 1.0,
    embedding_size: o.EmbeddingSize = None,
    input_size: Annotated[int, typer.Option(help="Side of the square input in pixels.")] = 112,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """List the backbones, or one, with their parameters, multiply-adds of one image and size."""
    from facedistill.models import BACKBONES

    names = [entry.name for entry in BACKBONES] if name is None else [name]
    facts = [
        backbone_facts(backbone, width=width, embedding_size=embedding_size, input_size=input_size)
        for backbone in names
    ]
    rows = [
        (
            fact["name"],
            str(fact["embedding_size"]),
            f"{input_size} x {input_size}",
            f"{fact['parameters'] / 1e6:.2f} M",
            f"{fact['multiply_adds'] / 1e6:.0f} M",
            f"{fact['fp32_bytes'] / 1e6:.1f} MB",
            fact["summary"],
            fact["source"],
        )
        for fact in facts
    ]
    columns = (
        "backbone", "embedding", "input", "parameters", "multiply-adds", "fp32 size", "what it is", "source",
    )  # fmt: skip
    print_table(f"Backbones at width {width:g}", columns, rows, quiet=quiet)
    write_json(json_file, facts)
    if name is None and not quiet:
        for family in BACKBONES.families.values():
            note(
                f"{family.prefix}:NAME is {family.summary}; it needs pip install 'facedistill[{family.prefix}]', and "
                f"facedistill models {family.prefix}:NAME measures one"
            )


def backbone_facts(name: str, *, width: float, embedding_size: int | None, input_size: int) -> dict[str, Any]:
    """Name, arguments, costs and source of one backbone, JSON-ready."""
    import torch

    from facedistill.models import BACKBONES, build_backbone, default_embedding_size
    from facedistill.models.complexity import measure_complexity

    size = default_embedding_size(name) if embedding_size is None else embedding_size
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=size, width=width, input_size=input_size)
    complexity = measure_complexity(backbone, input_size=input_size)
    entry = BACKBONES.family(name) or next(entry for entry in BACKBONES if entry.name == name)
    return {
        "name": name,
        "embedding_size": size,
        "width": width,
        "input_size": input_size,
        **asdict(complexity),
        "summary": entry.summary,
        "source": entry.source,
    }


def heads(json_file: o.JsonFile = None, quiet: o.Quiet = False) -> None:
    """List the margin heads."""
    from facedistill.heads import HEADS

    list_registry("Margin heads", HEADS, json_file, quiet)


def methods(
    name: Annotated[
        str | None, typer.Argument(help="One method, such as triplet-distillation.", show_default=False)
    ] = None,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """List the distillation methods, or one with its formula and options."""
    from facedistill.distill import METHODS

    if name is not None:
        METHODS[name]
        fact = next(fact for fact in map(method_facts, METHODS) if fact["name"] == name)
        print_method(fact, quiet=quiet)
        write_json(json_file, fact)
        return
    facts = [method_facts(entry) for entry in METHODS]
    rows = [
        (
            fact["name"],
            fact["summary"],
            ", ".join(fact["needs"]) or "nothing",
            quoted(fact["published"]) or "-",
            fact["source"],
        )
        for fact in facts
    ]
    columns = ("name", "what it is", "needs", "published: LFW, IJB-C at 1e-4", "source")
    print_table("Distillation methods", columns, rows, quiet=quiet)
    write_json(json_file, facts)


# What a method needs, as the list of methods says it.
NEEDS = {
    "teacher": "teacher",
    "equal_sizes": "equal embedding sizes",
    "labels": "labels",
    "several_images_per_identity": "several images a person",
    "centres": "class centres (logits)",
    "rows": "embeddings of all images",
    "features": "feature maps",
}


def quoted(published: str) -> str:
    """The first LFW accuracy and IJB-C TAR at FAR 1e-4 that a text of published figures gives."""
    figures = (re.search(rf"{name} (\d+\.\d+)", published) for name in ("LFW", "IJB-C"))
    return ", ".join(figure[1] if figure else "-" for figure in figures) if published else ""


def method_facts(entry: Entry[MethodKind[Any]]) -> dict[str, Any]:
    """All that is known of a method, JSON-ready; what it needs is told for its default options."""
    kind = entry.factory
    needs = kind.needs(kind.options())
    return {
        "name": entry.name,
        "summary": entry.summary,
        "source": entry.source,
        "needs": [label for name, label in NEEDS.items() if getattr(needs, name)],
        "formula": kind.formula,
        "published": kind.published,
        "options": [
            {"name": name, "default": field.default, "description": field.description}
            for name, field in kind.options.model_fields.items()
        ],
    }


def print_method(fact: dict[str, Any], *, quiet: bool) -> None:
    """A method's formula, options, needs, source and published figures."""
    say(f"{fact['name']}: {fact['summary']} ({fact['source']})", quiet=quiet)
    say(f"\n{fact['formula']}\n", quiet=quiet)
    say(f"needs: {', '.join(fact['needs']) or 'nothing'}", quiet=quiet)
    if fact["published"]:
        say(f"published: {fact['published']}", quiet=quiet)
    rows = [(option["name"], str(option["default"]), option["description"] or "") for option in fact["options"]]
    if rows:
        print_table("Options, given by --set OPTION=VALUE", ("option", "default", "what it is"), rows, quiet=quiet)
    else:
        say("it has no options", quiet=quiet)


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
