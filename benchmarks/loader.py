"""How fast training crops are read and decoded, as ratios to a bare loop that only decodes, all in one run.

Writes JPEG crops into a temporary folder, a `.rec` and tar shards, and reads each by the loader of training: in
threads, and in processes. Then trains MobileFaceNet of width 0.25 on them, and says what part of a step it waits for
images, and how much longer a step takes than with the same batches at hand.

    python benchmarks/loader.py --crops 2000
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch

from facedistill.data.batches.loader import BatchLoader, ImageBatch
from facedistill.data.dataset import FaceDataset
from facedistill.data.folder import FolderDataset
from facedistill.data.images import encode_image
from facedistill.data.open_dataset import open_dataset
from facedistill.data.records.writer import write_rec
from facedistill.data.shards.writer import write_shards
from facedistill.data.synthetic import SyntheticFaces
from facedistill.heads import make_head
from facedistill.models import build_backbone
from facedistill.models.layers import channels_last
from facedistill.preprocessing import Preprocessing
from facedistill.training.objective import EmbeddingStep

BATCH = 128


def write_crops(folder: Path, count: int) -> None:
    """`count` JPEG crops of 112 x 112 pixels; 100 made-up faces, each with other noise every time."""
    faces = [SyntheticFaces(10, 10).image(index) for index in range(100)]
    generator = np.random.default_rng(0)
    for index in range(count):
        noise = generator.integers(0, 24, (112, 112, 3), dtype=np.uint8)
        path = folder / f"{index % 100:03d}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(cv2.add(faces[index % 100], noise), ".jpg", 90))


def bare_loop(encoded: list[bytes], threads: int) -> float:
    """Images a second of OpenCV's decoder alone, the bytes being in memory."""

    def decode(part: list[bytes]) -> None:
        for one in part:
            cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR_RGB)

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, [encoded[number::threads] for number in range(threads)]))
    return len(encoded) / (time.perf_counter() - started)


def loader_rate(dataset: FaceDataset, *, threads: int = 1, processes: int = 0) -> float:
    """Images a second of the loader, its processes being started already."""
    order = np.random.default_rng(0).permutation(len(dataset)).astype(np.int64)
    batches = np.split(order[: len(order) // BATCH * BATCH], len(order) // BATCH)
    with BatchLoader(dataset, Preprocessing(), threads=threads, processes=processes) as loader:
        list(loader.batches(batches[: max(1, processes)]))
        started = time.perf_counter()
        images = sum(len(batch.indices) for batch in loader.batches(batches))
        return images / (time.perf_counter() - started)


def training_steps(dataset: FaceDataset, steps: int, threads: int) -> tuple[float, float, float]:
    """Seconds a step with batches at hand, with the loader, and of these the seconds that it waits for images."""
    torch.manual_seed(0)
    head = make_head("arcface", 128, 100)
    backbone = channels_last(build_backbone("mobilefacenet", embedding_size=128, width=0.25))
    embed = EmbeddingStep(backbone, Preprocessing()).train()
    optimizer = torch.optim.SGD([*embed.parameters(), *head.parameters()], lr=0.01, momentum=0.9)
    generator = np.random.default_rng(0)
    plan = [generator.permutation(len(dataset))[:BATCH].astype(np.int64) for _ in range(steps)]

    def step(batch: ImageBatch) -> None:
        images, labels = torch.from_numpy(batch.images), torch.from_numpy(dataset.labels[batch.indices])
        loss = head(embed(images), labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with BatchLoader(dataset, Preprocessing(), threads=threads) as loader:
        at_hand = list(loader.batches(plan))
        for batch in at_hand[:3]:
            step(batch)
        with stopwatch() as alone:
            for batch in at_hand:
                step(batch)
        waited = 0.0
        with stopwatch() as together:
            batches = loader.batches(plan)
            while True:
                asked = time.perf_counter()
                following = next(batches, None)
                waited += time.perf_counter() - asked
                if following is None:
                    break
                step(following)
    return alone[0] / steps, together[0] / steps, waited / steps


@contextlib.contextmanager
def stopwatch() -> Iterator[list[float]]:
    """A list that holds the seconds once the block is left."""
    seconds: list[float] = []
    started = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - started)


def main() -> None:
    """Print the ratios, the median and the range of several rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="Training steps of each round.")
    parser.add_argument("--workers", type=int, default=2, help="Threads or processes that decode.")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_crops(folder / "faces", arguments.crops)
        faces = FolderDataset(folder / "faces")
        write_rec(faces, folder / "faces.rec")
        write_shards(faces, folder / "shards")
        kinds = {kind: open_dataset(folder / kind) for kind in ("faces", "faces.rec", "shards")}
        encoded = [faces.encoded(index) for index in range(len(faces))]
        rows: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            bare = bare_loop(encoded, 1), bare_loop(encoded, arguments.workers)
            one = {kind: loader_rate(dataset) for kind, dataset in kinds.items()}
            many = {kind: loader_rate(dataset, threads=arguments.workers) for kind, dataset in kinds.items()}
            processes = {kind: loader_rate(dataset, processes=arguments.workers) for kind, dataset in kinds.items()}
            for kind in kinds:
                rows.setdefault(f"{kind}: 1 thread / bare loop", []).append(one[kind] / bare[0])
                rows.setdefault(f"{kind}: {arguments.workers} threads / one bare loop", []).append(many[kind] / bare[0])
                rows.setdefault(f"{kind}: {arguments.workers} threads / as many bare loops", []).append(
                    many[kind] / bare[1]
                )
                rows.setdefault(f"{kind}: {arguments.workers} processes / one bare loop", []).append(
                    processes[kind] / bare[0]
                )
                rows.setdefault(f"{kind}: {arguments.workers} processes / as many bare loops", []).append(
                    processes[kind] / bare[1]
                )
                if kind != "faces":
                    rows.setdefault(f"{kind} / folder, 1 thread", []).append(one[kind] / one["faces"])
            alone, together, waited = training_steps(faces, arguments.steps, arguments.workers)
            rows.setdefault("step: part of it that waits for images", []).append(waited / together)
            rows.setdefault("step: with the loader / with batches at hand", []).append(together / alone)
        for label, values in rows.items():
            print(f"{label:50s} {statistics.median(values):.3f}  ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
