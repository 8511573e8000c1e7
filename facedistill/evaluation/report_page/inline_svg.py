"""A picture as part of the page: an `svg` element in the page's own colours and font, small, with ids of its own."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Tree

from facedistill.evaluation.report_page.picture import CARD, INK, LINE, SERIES, SOFT, Picture

VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    LINE: "--line",
    CARD: "--card",
    **{color: f"--series-{number}" for number, color in enumerate(SERIES, start=1)},
}
"""Colour of a picture -> the variable of the style sheet that stands for it, light or dark."""

_COLOR = re.compile("#[0-9a-f]{6}")
_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"#([\w.-]+)")
_GEOMETRY = ("d", "x", "y", "width", "height", "transform")


def inline_svg(picture: Picture, prefix: str) -> str:
    """The picture for a page whose style sheet has `VARIABLES`.

    Args:
        picture: what to show.
        prefix: begins every id, so that those of two pictures differ.
    """
    root = Tree.fromstring(picture.render("svg"))  # noqa: S314 - our own, not a stranger's
    box = root.get("viewBox", "")
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    wanted = {name for element in root.iter() for value in _links(element) for name in _REFERENCE.findall(value)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = _attributes(element.attrib, prefix, wanted)
        element.tail = None
        if element.tag != "text":
            element.text = None
    root.attrib = {"viewBox": box, "role": "img", "aria-label": picture.title, "class": "drawn"}
    return Tree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _links(element: Tree.Element) -> list[str]:
    return [value for name, value in element.attrib.items() if _local(name) in ("href", "clip-path")]


def _attributes(attributes: dict[str, str], prefix: str, wanted: set[str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for full, value in attributes.items():
        name = _local(full)
        if name == "id":
            if value in wanted:
                kept[name] = f"{prefix}-{value}"
        elif name in ("href", "clip-path"):
            kept[name] = _REFERENCE.sub(rf"#{prefix}-\1", value)
        elif name == "style":
            kept[name] = _style(value)
        elif name in _GEOMETRY:
            kept[name] = _NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
            kept[name] = " ".join(kept[name].split())
        else:
            kept[name] = value
    return kept


def _style(style: str) -> str:
    """Colours become variables, and a font only its size."""
    declarations = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            size = re.search(r"[\d.]+px", value)
            declarations.append(f"font-size:{size[0]}" if size else "")
        elif name and name != "font-family":
            declarations.append(f"{name}:{_COLOR.sub(lambda color: f'var({VARIABLES[color[0]]})', value)}")
    return ";".join(filter(None, declarations))
