"""The C++ example, built as its README says, beside facedistill's own embedder."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from .conftest import MODELS, MakeModel

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "cpp"
# Where Debian's package puts it; the Python wheels hold the library alone.
HEADERS = Path("/usr/include/onnxruntime")
STAND_IN = Path(__file__).with_name("stand_in")

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="no cmake and C++ compiler"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not libraries:
        pytest.skip("onnxruntime's wheel has no shared library here")
    release = tmp_path_factory.mktemp("onnxruntime")
    (release / "include").symlink_to(HEADERS if (HEADERS / "onnxruntime_cxx_api.h").exists() else STAND_IN)
    (release / "lib").mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (release / "lib" / name).symlink_to(libraries[0])
    build = tmp_path_factory.mktemp("build")
    configure = [
        "cmake",
        "-S",
        FOLDER,
        "-B",
        build,
        f"-DONNXRUNTIME={release}",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror",
    ]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    return build / "verify_two_crops"


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_cosines_are_those_of_facedistill(
    program: Path,
    models: list[Path],
    make_crops: Callable[..., list[Path]],
    expected: Callable[[dict[str, Any], list[Path]], float],
) -> None:
    for model, values in zip(models, MODELS.values(), strict=True):
        crops = make_crops(values["size"], ".ppm")
        printed = run(program, model, *crops).stdout
        found = re.fullmatch(r"cosine (-?[\d.]+), threshold 0\.500000: (one person|two people)\n", printed)
        assert found, printed
        cosine = expected(values, crops)
        assert float(found[1]) == pytest.approx(cosine, abs=1e-5)
        assert found[2] == ("one person" if cosine > 0.5 else "two people")


def test_what_cannot_be_read_is_told(
    program: Path, make_model: MakeModel, make_crops: Callable[..., list[Path]], tmp_path: Path
) -> None:
    model, crops = make_model(size=32), make_crops(32, ".ppm")
    commented = tmp_path / "commented.ppm"
    commented.write_bytes(crops[0].read_bytes().replace(b"P6\n", b"P6\n# by a painting program\n", 1))
    assert run(program, model, commented, crops[0]).stdout.startswith("cosine 1.000000")
    (tmp_path / "short.ppm").write_bytes(crops[0].read_bytes()[:-1])
    for arguments, message in {
        (model, crops[0], tmp_path / "no.ppm"): "no.ppm: cannot be read",
        (model, crops[0], tmp_path / "short.ppm"): "short.ppm: the file ends early",
        (model, crops[0], make_crops(33, ".ppm")[0]): "crop0-33.ppm: not a binary PPM of 32 x 32 pixels",
        (make_model("bare", size=32, thresholds=None), *crops): "the model carries no 'facedistill.thresholds'",
        (make_model("none", size=32, thresholds=[]), *crops): "the model carries no threshold",
        (tmp_path / "no.onnx", *crops): "no.onnx",
    }.items():
        outcome = run(program, *arguments)
        assert outcome.returncode == 1
        assert message in outcome.stderr
    assert run(program, model).returncode == 2
