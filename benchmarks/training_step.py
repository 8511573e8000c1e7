"""How much longer a step of the training loop takes than a bare one, in one run.

The bare loop has its input as normalised floats in memory, and does forward, backward, clipping and the optimizer's
step, nothing else. The training loop gets the same images as uint8 batches in memory and does all that it does in a
run: seeds, mirroring, normalisation, figures, guards, records and signals; only decoding, evaluations and saves are
left out. Both take turns of several steps.

On a CUDA device also the images a second of the training loop for IResNet-50 and MobileFaceNet in bf16, with and
without compilation and channels-last weights.

    python benchmarks/training_step.py --batch 64
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from facedistill.checkpoint import BackboneSpec
from facedistill.data.batches.loader import BatchLoader, ImageBatch
from facedistill.data.batches.sampling import ShuffledSampler
from facedistill.data.decoding import Indices
from facedistill.data.open_dataset import open_dataset
from facedistill.heads import make_head
from facedistill.models import build_backbone, default_embedding_size
from facedistill.models.layers import channels_last
from facedistill.preprocessing import Preprocessing
from facedistill.training.loop import TrainingLoop
from facedistill.training.objective import Classification
from facedistill.training.processes import join_processes
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import TeacherOptions
from facedistill.training.training import Training

CLASSES, PER_CLASS = 200, 40


class MemoryLoader(BatchLoader):
    """Gives the same images in memory for whatever batch it is asked for."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images

    def batches(self, index_batches: Sequence[Indices]) -> Iterator[ImageBatch]:
        for indices in index_batches:
            yield ImageBatch(self._images[: len(indices)], indices, {})


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def training_loop(options: TeacherOptions, folder: Path) -> TrainingLoop:
    """The loop of a run that never ends within the benchmark."""
    torch.manual_seed(0)
    size = default_embedding_size(options.model)
    dataset = open_dataset(f"made-up:{CLASSES}x{PER_CLASS}")
    training = Training(
        fabric=join_processes(options.device, options.precision),
        backbone=build_backbone(options.model, embedding_size=size, width=options.width or 1.0),
        spec=BackboneSpec(options.model, size, options.width or 1.0),
        preprocessing=Preprocessing(),
        objective=Classification(make_head("arcface", size, CLASSES)),
        dataset=dataset,
        sampler=ShuffledSampler(len(dataset), options.batch_size, seed=0),
        options=options,
        run=RunFolder(folder),
    )
    (folder).mkdir(parents=True, exist_ok=True)
    return TrainingLoop(training)


def epochs_of(loop: TrainingLoop, steps: int, images: np.ndarray) -> Callable[[], None]:
    """A function that takes `steps` steps of the loop."""
    loader = MemoryLoader(images)
    loop.loader, loop.examined = loader, True
    loop.saver.due = lambda **_: False  # type: ignore[method-assign]

    def run() -> None:
        loop.progress.epoch, loop.progress.epoch_step = 0, 0
        loop.training.sampler = Batches(steps, loop.options.batch_size)
        loop.train_epoch()

    return run


class Batches:
    """So many batches an epoch."""

    def __init__(self, steps: int, size: int) -> None:
        order = np.random.default_rng(0).permutation(CLASSES * PER_CLASS).astype(np.int64)
        self._batches = [np.resize(np.roll(order, -step * size), size) for step in range(steps)]

    def batches(self, epoch: int) -> list[Indices]:
        return self._batches


def bare_loop(options: TeacherOptions, steps: int, images: np.ndarray) -> Callable[[], None]:
    """A function that takes `steps` steps of what a first sketch of a training loop does."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() and options.device != "cpu" else "cpu"
    size = default_embedding_size(options.model)
    backbone = channels_last(build_backbone(options.model, embedding_size=size, width=options.width or 1.0))
    backbone, head = backbone.to(device).train(), make_head("arcface", size, CLASSES).to(device)
    parameters = [value for value in (*backbone.parameters(), *head.parameters()) if value.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=5e-4)
    inputs = Preprocessing().to_tensor(torch.from_numpy(images).to(device))
    labels = [torch.from_numpy(batch % CLASSES).to(device) for batch in Batches(steps, len(images)).batches(0)]
    autocast = torch.autocast(device, dtype=torch.bfloat16, enabled=options.precision == "bf16")

    def run() -> None:
        for label in labels:
            with autocast:
                embeddings = backbone(inputs)
            loss = head(embeddings.float(), label).loss
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()

    return run


def seconds(work: Callable[[], None]) -> float:
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - started


def compare(options: TeacherOptions, steps: int, rounds: int, folder: Path) -> None:
    """Print how much longer a step of the loop takes."""
    images = np.random.default_rng(0).integers(0, 256, (options.batch_size, 112, 112, 3), dtype=np.uint8)
    bare, loop = bare_loop(options, steps, images), epochs_of(training_loop(options, folder), steps, images)
    bare(), loop()
    pairs = [(seconds(loop), seconds(bare)) for _ in range(rounds)]
    ratios = [ours / theirs for ours, theirs in pairs]
    print(
        f"{options.model} x {options.width or 1:g}, batch {options.batch_size}: a step of the loop takes "
        f"{statistics.median(ratios):.3f} times a bare one ({min(ratios):.3f} to {max(ratios):.3f}; the bare one "
        f"{1000 * statistics.median(theirs for _, theirs in pairs) / steps:.1f} ms; {rounds} rounds of {steps} steps)",
        flush=True,
    )


def throughput(changes: dict[str, Any], steps: int, folder: Path) -> None:
    """Print the images a second of the loop on a GPU."""
    options = TeacherOptions(device="cuda", precision="bf16", epochs=1, warmup_epochs=0, lr=1e-4, **changes)
    images = np.random.default_rng(0).integers(0, 256, (options.batch_size, 112, 112, 3), dtype=np.uint8)
    run = epochs_of(training_loop(options, folder), steps, images)
    run()
    took = statistics.median(seconds(run) for _ in range(3))
    print(
        f"{options.model}, bf16, batch {options.batch_size}, "
        f"{'channels last' if options.channels_last else 'channels first'}, "
        f"{'compiled' if options.compile else 'eager'}: {steps * options.batch_size / took:.0f} images/s, "
        f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB",
        flush=True,
    )
    torch.cuda.reset_peak_memory_stats()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=float, default=1.0, help="Of MobileFaceNet in the comparison.")
    parser.add_argument("--steps", type=int, default=10, help="Steps of a round.")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        options = TeacherOptions(
            model="mobilefacenet", width=arguments.width, batch_size=arguments.batch, epochs=1, warmup_epochs=0, lr=1e-4
        )
        compare(options, arguments.steps, arguments.rounds, Path(name) / "compare")
        if torch.cuda.is_available():
            print(torch.cuda.get_device_name())
            for number, (model, compiled, last) in enumerate(
                itertools.product(("iresnet50", "mobilefacenet"), (False, True), (False, True))
            ):
                changes = {"model": model, "compile": compiled, "channels_last": last, "batch_size": 256}
                throughput(changes, 30, Path(name) / f"{number}")


if __name__ == "__main__":
    main()
