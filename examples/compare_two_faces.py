"""Are these two aligned crops the same person? Works with any model file that facedistill can open.

python examples/compare_two_faces.py MODEL CROP_A CROP_B THRESHOLD

MODEL is a run folder, a .safetensors checkpoint or an .onnx file; THRESHOLD is a squared L2 distance, such as the one
that `facedistill eval` prints for your model and the FAR you can live with.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from facedistill.data.images import read_image
from facedistill.embedders.load import load_embedder


def main(model: str, crop_a: str, crop_b: str, threshold: str) -> None:
    """Print the distance and the verdict."""
    embedder = load_embedder(Path(model), note=print)
    crops = np.concatenate([embedder.preprocessing.resize(read_image(Path(crop))[None]) for crop in (crop_a, crop_b)])
    # The protocol's descriptor: the embeddings of a crop and of its mirror image, added.
    embeddings = embedder.embed(crops) + embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    distance = float(np.square(unit[0] - unit[1]).sum())
    verdict = "the same person" if distance < float(threshold) else "two people"
    print(f"squared L2 distance {distance:.3f}, cosine {1 - distance / 2:.3f}: {verdict}")


if __name__ == "__main__":
    main(*sys.argv[1:])
