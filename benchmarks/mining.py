"""Mining and triplet loss against pytorch-metric-learning's, and the memory that mining takes of a large batch.

The times are those of one step from embeddings to their gradient: distances, mining, loss and backward pass. Ours and
the peer's take turns in one process, and the ratio is the median over the rounds. Both admit the same semi-hard
triplets; the peer takes all of them, as does our "all-semi-hard", while "semi-hard" draws one for each pair of an
anchor and a positive. The memory is what the largest moment of a step holds beyond the process before it, each mining
in a process of its own; on a CUDA device, of the device.

    pip install pytorch-metric-learning
    python benchmarks/mining.py --batch 512 --large 2048
"""

from __future__ import annotations

import argparse
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch

from facedistill.distill.method import DistillationBatch, Setting
from facedistill.distill.mining import Mining
from facedistill.distill.triplet import (
    TripletDistillation,
    TripletDistillationOptions,
    TripletLoss,
    TripletOptions,
    mine,
)

MININGS: tuple[Mining, ...] = get_args(Mining)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MARGIN = ALPHA = 0.35


def made_up(batch: int, size: int, images_per_identity: int) -> DistillationBatch:
    """Embeddings in which people can be told apart, but not always, as in the middle of a training."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(batch) // images_per_identity
    centres = torch.randn(batch, size, generator=generator)
    student, teacher = (
        centres[labels] + spread * torch.randn(batch, size, generator=generator) for spread in (1.5, 0.8)
    )
    batches = DistillationBatch(student.to(DEVICE), teacher.to(DEVICE), labels.to(DEVICE))
    return batches._replace(largest_identity=images_per_identity)


def seconds(step: Callable[[torch.Tensor], torch.Tensor], student: torch.Tensor) -> float:
    """Of one step, forward and backward."""
    embeddings = student.clone().requires_grad_()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    step(embeddings).backward()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(batch: DistillationBatch, rounds: int) -> None:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import TripletMarginMiner
    from pytorch_metric_learning.reducers import MeanReducer

    distance = LpDistance(normalize_embeddings=True, p=2, power=2)
    miner = TripletMarginMiner(margin=ALPHA, type_of_triplets="semihard", distance=distance)
    peer_loss = TripletMarginLoss(margin=MARGIN, distance=distance, reducer=MeanReducer())
    setting = Setting(batch.student.shape[1], batch.teacher.shape[1], len(batch.labels))

    def peer(embeddings: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = peer_loss(embeddings, batch.labels, miner(embeddings, batch.labels))
        return loss

    ours: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
    for mining in MININGS:
        method = TripletLoss(TripletOptions(mining=mining, margin=MARGIN, alpha=ALPHA), setting)
        adaptive = TripletDistillation(
            TripletDistillationOptions(mining=mining, alpha=ALPHA, margin_map="spread"), setting
        ).to(DEVICE)
        ours[mining] = lambda rows, method=method: method(batch._replace(student=rows)).loss
        ours[f"{mining}, margins by the teacher"] = lambda rows, method=adaptive: (
            method(batch._replace(student=rows)).loss
        )
    check(batch, miner(batch.student, batch.labels), peer(batch.student), ours["all-semi-hard"](batch.student))
    times: dict[str, list[float]] = {name: [] for name in ("peer", *ours)}
    for number in range(rounds + 1):
        for name, step in (("peer", peer), *ours.items()):
            taken = seconds(step, batch.student)
            if number:  # the first round warms up
                times[name].append(taken)
    for name in ours:
        ratios = [theirs / own for theirs, own in zip(times["peer"], times[name], strict=True)]
        print(
            f"{name}: {statistics.median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f} in "
            f"{rounds} rounds, {DEVICE})",
            flush=True,
        )


def check(
    batch: DistillationBatch, theirs: tuple[torch.Tensor, ...], their_loss: torch.Tensor, loss: torch.Tensor
) -> None:
    """Both admit the same triplets, but for those at an end of the band to the last digit, and have the same loss."""
    mined = mine(batch, TripletOptions(mining="all-semi-hard", alpha=ALPHA))
    size = len(batch.labels)
    keys = []
    for block in mined.blocks():
        row, slot, negative = block.valid.nonzero().unbind(1)
        keys.append(((row + block.anchors.start) * size + block.positive[row, slot]) * size + negative)
    own = torch.cat(keys).sort().values
    peer = ((theirs[0] * size + theirs[1]) * size + theirs[2]).sort().values
    union, counts = torch.cat([own, peer]).unique(return_counts=True)
    different = int((counts == 1).sum())
    print(f"semi-hard triplets: {len(own)}, the peer's {len(peer)}, {different} not in both of {len(union)}")
    print(f"loss of all of them: {loss.item():.6f}, the peer's {their_loss.item():.6f}", flush=True)
    if different > len(union) // 10_000 or abs(loss.item() - their_loss.item()) > 1e-4:
        raise SystemExit("they do not admit the same triplets")


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def peak_of(mining: Mining, batch: DistillationBatch) -> int:
    """Bytes that a step takes at its largest moment."""
    setting = Setting(batch.student.shape[1], batch.teacher.shape[1], len(batch.labels))
    method = TripletDistillation(TripletDistillationOptions(mining=mining), setting).to(DEVICE)
    few = batch._replace(student=batch.student[:8], teacher=batch.teacher[:8], labels=batch.labels[:8])
    seconds(lambda rows: method(few._replace(student=rows)).loss, few.student)
    before = peak_bytes()
    seconds(lambda rows: method(batch._replace(student=rows)).loss, batch.student)
    return peak_bytes() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--large", type=int, default=2048, help="Batch whose memory is measured.")
    parser.add_argument("--size", type=int, default=128, help="Length of an embedding.")
    parser.add_argument("--images-per-identity", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=MININGS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(peak_of(arguments.only, made_up(arguments.large, arguments.size, arguments.images_per_identity)))
        return
    compare(made_up(arguments.batch, arguments.size, arguments.images_per_identity), arguments.rounds)
    for mining in MININGS:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", mining]
        found = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{mining}: {found / 1e6:.0f} MB at its peak (batch {arguments.large}, {DEVICE})", flush=True)


if __name__ == "__main__":
    main()
