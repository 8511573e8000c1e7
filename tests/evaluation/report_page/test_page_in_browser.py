"""The page as a browser lays it out, on a telephone and on a desk: nothing overflows, nothing overlaps, all is legible.

The page itself has no script. It is put into a frame of the wanted width, and the page around that measures it.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.report_page.page import write_report_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium")]

MEASURE = """
const frame = document.querySelector("iframe");
frame.onload = () => {
  const page = frame.contentDocument, width = page.documentElement.clientWidth, found = {width, faults: []};
  found.scrolls = page.documentElement.scrollWidth;
  found.color = frame.contentWindow.getComputedStyle(page.body).backgroundColor;
  found.stroke = frame.contentWindow.getComputedStyle(page.querySelector("svg.drawn path[clip-path]")).stroke;
  const fault = (kind, element) => found.faults.push(kind + ": " + element.outerHTML.slice(0, 150));
  const outside = (inner, outer) => inner.left < outer.left - 1 || inner.right > outer.right + 1
    || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
  for (const element of page.querySelectorAll("main *:not(svg *)")) {
    const box = element.getBoundingClientRect();
    if (box.right > width + 0.5 && !element.closest(".scroll")) fault("beyond the edge", element);
    if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth && !element.classList.contains("scroll")
        && getComputedStyle(element).display !== "inline") fault("overflows", element);
  }
  found.scrolled = [...page.querySelectorAll(".scroll")].filter(box => box.scrollWidth > box.clientWidth + 1).length;
  found.smallest = 100;
  for (const drawing of page.querySelectorAll("svg.drawn")) {
    const frameOf = drawing.getBoundingClientRect();
    const texts = [...drawing.querySelectorAll("text")].filter(text => text.textContent.trim());
    texts.forEach((text, index) => {
      const box = text.getBoundingClientRect();
      const scale = frameOf.width / drawing.viewBox.baseVal.width;
      found.smallest = Math.min(found.smallest, scale * parseFloat(getComputedStyle(text).fontSize));
      if (outside(box, frameOf)) fault("cut off", text);
      for (const other of texts.slice(index + 1)) {
        const second = other.getBoundingClientRect();
        const across = Math.min(box.right, second.right) - Math.max(box.left, second.left);
        const upwards = Math.min(box.bottom, second.bottom) - Math.max(box.top, second.top);
        // Boxes are as high as a line, letters are not.
        const much = 0.3 * Math.min(box.height, second.height);
        if (across > 1 && upwards > much) fault("overlaps " + other.textContent, text);
      }
    });
  }
  found.texts = page.querySelectorAll("svg.drawn text").length;
  document.querySelector("pre").textContent = JSON.stringify(found);
};
frame.srcdoc = document.querySelector("template").content.textContent;
"""


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def measured(report: EvaluationReport, width: int, *, dark: bool = False) -> dict[str, Any]:
        write_report_page(report, tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text("utf-8")
        around = tmp_path / "around.html"
        around.write_text(
            f'<!DOCTYPE html><meta charset="utf-8"><template>{html.escape(page)}</template>'
            f'<iframe width="{width}" height="900" style="border:0"></iframe><pre></pre><script>{MEASURE}</script>',
            "utf-8",
        )
        scheme = 0 if dark else 1
        command = [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1400,1000",
        ]
        command += [f"--user-data-dir={tmp_path / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}"]
        command += ["--virtual-time-budget=10000", "--dump-dom", around.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        found = re.search(r"<pre>(\{.*?\})</pre>", dom, re.DOTALL)
        assert found is not None, dom[-2000:]
        measures: dict[str, Any] = json.loads(html.unescape(found[1]))
        return measures

    return measured


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_overflows_or_overlaps(report: EvaluationReport, look: Callable[..., Any], width: int) -> None:
    names = ("agedb_30_of_a_collection_with_quite_a_long_name", "\u4eba\u8138" * 30)
    results = tuple(replace(result, name=name) for result, name in zip(report.results, names, strict=True))
    found = look(replace(report, results=results), width)
    assert found["faults"] == []
    assert found["width"] == found["scrolls"] == width
    assert found["scrolled"] == 0
    assert found["texts"] > 60
    assert found["smallest"] >= (10 if width == 400 else 12)


def test_hostile_names_break_no_layout(evil_report: EvaluationReport, look: Callable[..., Any]) -> None:
    found = look(evil_report, 400)
    assert found["faults"] == []
    assert found["scrolls"] == 400


def test_light_and_dark(report: EvaluationReport, look: Callable[..., Any]) -> None:
    light, dark = look(report, 1200), look(report, 1200, dark=True)
    assert (light["color"], dark["color"]) == ("rgb(246, 247, 249)", "rgb(20, 23, 27)")
    assert light["stroke"] != dark["stroke"]
    assert dark["stroke"].startswith("rgb(")
