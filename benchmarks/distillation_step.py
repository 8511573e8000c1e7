"""What a step of distillation costs beside the same student's margin-softmax step, in one run.

Three loops take turns of several steps, all of them the training loop of a run with images in memory: the student with
a margin head, the student taught by a cache on disk, and, in a second comparison, the student taught by a cache and by
a live IResNet-50 that looks at every view.

    python benchmarks/distillation_step.py --batch 128
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from training_step import CLASSES, epochs_of, seconds

from facedistill.checkpoint import BackboneSpec
from facedistill.data.batches.sampling import ShuffledSampler
from facedistill.data.open_dataset import open_dataset
from facedistill.distill.method import Setting
from facedistill.embedders.cached_rows import CachedRows
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.heads import make_head
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.training.distill_options import DistillOptions
from facedistill.training.loop import TrainingLoop
from facedistill.training.objective import Classification, Distillation, Objective
from facedistill.training.processes import join_processes
from facedistill.training.run_folder import RunFolder
from facedistill.training.teaching import CachedTeaching, LiveTeaching, Teaching
from facedistill.training.training import Training

SIZE = 512


def student_loop(options: DistillOptions, objective: Objective, teacher: Teaching | None, folder: Path) -> TrainingLoop:
    """The loop of a student's run that never ends within the benchmark."""
    torch.manual_seed(0)
    dataset = open_dataset(f"made-up:{CLASSES}x40")
    folder.mkdir(parents=True)
    width = options.width or 1.0
    return TrainingLoop(
        Training(
            fabric=join_processes(options.device, options.precision),
            backbone=build_backbone("mobilefacenet", embedding_size=SIZE, width=width),
            spec=BackboneSpec("mobilefacenet", SIZE, width),
            preprocessing=Preprocessing(),
            objective=objective,
            dataset=dataset,
            sampler=ShuffledSampler(len(dataset), options.batch_size, seed=0),
            options=options,
            run=RunFolder(folder),
            teacher=teacher,
        )
    )


def cached_rows(folder: Path, images: int) -> CachedRows:
    """Random embeddings of a teacher, read from a file that is mapped into memory."""
    path = folder / "directions.npy"
    directions = np.random.default_rng(0).normal(size=(images, 2, SIZE))
    np.save(path, (directions / np.linalg.norm(directions, axis=2, keepdims=True)).astype(np.float16))
    return CachedRows(np.load(path, mmap_mode="r"), np.ones((images, 2), dtype=np.float32))


def compare(label: str, one: Callable[[], None], other: Callable[[], None], rounds: int) -> None:
    """Print how much longer `one` takes than `other`."""
    one(), other()
    ratios = [seconds(one) / seconds(other) for _ in range(rounds)]
    print(
        f"{label}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f} over {rounds} rounds)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=float, default=1.0, help="Of MobileFaceNet, the student.")
    parser.add_argument("--steps", type=int, default=4, help="Steps of a round.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--live-rounds", type=int, default=3, help="Rounds of the comparison with a live teacher.")
    arguments = parser.parse_args()
    options = DistillOptions(width=arguments.width, batch_size=arguments.batch, epochs=1, warmup_epochs=0, lr=1e-4)
    images = np.random.default_rng(0).integers(0, 256, (arguments.batch, 112, 112, 3), dtype=np.uint8)
    setting = Setting(student_size=SIZE, teacher_size=SIZE, identities=CLASSES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = cached_rows(folder, CLASSES * 40)

        def steps(objective: Objective, teacher: Teaching | None, run: str) -> Callable[[], None]:
            return epochs_of(student_loop(options, objective, teacher, folder / run), arguments.steps, images)

        def distillation() -> Distillation:
            return Distillation(options.terms, setting)

        softmax = steps(Classification(make_head("arcface", SIZE, CLASSES)), None, "softmax")
        cached = steps(distillation(), CachedTeaching(rows), "cached")
        what = f"MobileFaceNet x {arguments.width:g}, batch {arguments.batch}"
        compare(
            f"{what}: triplet distillation from a cache, by a margin-softmax step", cached, softmax, arguments.rounds
        )
        device = join_processes(options.device, options.precision).device
        teacher = TorchEmbedder(
            build_backbone("iresnet50", embedding_size=SIZE), Preprocessing(), SIZE, name="IResNet-50", device=device
        )
        live = steps(distillation(), LiveTeaching(teacher), "live")
        compare(f"{what}: with a live IResNet-50 / by a cache", live, cached, arguments.live_rounds)


if __name__ == "__main__":
    main()
