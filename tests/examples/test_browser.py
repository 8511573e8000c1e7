"""The page of examples/browser in headless Chromium, beside facedistill's own embedder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODELS, MakeModel

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "browser"
HARNESS = Path(__file__).with_name("harness.html")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
INSTALLED = Path(os.environ.get("FACEDISTILL_NODE_MODULES", FOLDER / "node_modules"))

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
    pytest.mark.skipif(
        not (INSTALLED / "onnxruntime-web").is_dir(), reason="no onnxruntime-web; npm install in examples/browser"
    ),
]


class Handler(SimpleHTTPRequestHandler):
    """Gives out a folder, and keeps what was asked of it and what was posted to it."""

    asked: list[tuple[str, str]]
    posted: list[bytes]
    done: threading.Event

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path))
        super().do_GET()

    def do_POST(self) -> None:
        self.asked.append(("POST", self.path))
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.done.set()

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


def show(folder: Path, cases: list[list[str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """What the page shows for each case, and the requests that were made."""
    (folder / "index.html").symlink_to(FOLDER / "index.html")
    (folder / "harness.html").symlink_to(HARNESS)
    (folder / "node_modules").symlink_to(INSTALLED)
    (folder / "cases.json").write_text(json.dumps(cases))
    handler = type("Kept", (Handler,), {"asked": [], "posted": [], "done": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/harness.html"
        profile = f"--user-data-dir={folder / 'profile'}"
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", profile, address]
        # It stays open until it is told otherwise.
        command.insert(1, "--remote-debugging-port=0")
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert handler.done.wait(180), "the page never answered"
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    return json.loads(handler.posted[0]), handler.asked


def test_cosines_are_those_of_facedistill(
    models: list[Path],
    make_crops: Callable[..., list[Path]],
    make_model: MakeModel,
    expected: Callable[[dict[str, Any], list[Path]], float],
    tmp_path: Path,
) -> None:
    crops = [make_crops(values["size"], ".png") for values in MODELS.values()]
    cosines = [expected(values, pair) for values, pair in zip(MODELS.values(), crops, strict=True)]
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x0f")
    wrong = {
        (models[0], *crops[1]): "Not compared: crop0-48.png has 48 x 48 pixels, the model takes 32 x 32",
        (make_model("bare", size=32, thresholds=None), *crops[0]): "Not compared: the model carries no thresholds",
        (broken, *crops[0]): "Not compared: the model is no ONNX file",
    }
    cases = [(model, *pair) for model, pair in zip(models, crops, strict=True)]
    shown, asked = show(tmp_path, [[path.name for path in case] for case in (*cases, *wrong)])
    for text, cosine in zip(shown, cosines, strict=False):
        found = re.fullmatch(r"cosine (-?[\d.]+), threshold 0\.500000: (one person|two people)", text)
        assert found, text
        assert float(found[1]) == pytest.approx(cosine, abs=1e-5)
        assert found[2] == ("one person" if cosine > 0.5 else "two people")
    assert shown[len(cosines) :] == list(wrong.values())
    # Nothing was sent anywhere; the one post is the test's own.
    assert [request for request in asked if request[0] != "GET"] == [("POST", "/shown")]
