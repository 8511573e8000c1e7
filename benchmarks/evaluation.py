"""How long the figures of an evaluation take, and how much memory.

`pairs`: all figures of 6,000 pairs (10 folds, 400 thresholds, TAR, ROC) against the loop over thresholds and folds that
the protocol is usually written as, in turn, with the same accuracies. `many`: all figures of 15.7 million scores, as
many as IJB-C has. `all-pairs`: 3,708 embeddings, 6.9 million pairs, with people resampled 200 times. `blocks`: 100,000
embeddings, 5 billion pairs, in blocks. `throughput`: images a second through `describe` against the network alone.
Each runs in a process of its own, whose peak memory is told.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py throughput --model teacher.onnx
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDS, THRESHOLDS = 10, np.arange(400) / 100


def made_people(images: int, people: int, size: int = 192, noise: float = 1.6) -> tuple[npt.NDArray[np.float32], ...]:
    """Unit embeddings, and who is on each image."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.concatenate([np.arange(people), random.integers(people, size=images - people)]))
    embeddings = random.normal(size=(people, size)).astype(np.float32)[labels]
    embeddings += noise * random.normal(size=embeddings.shape).astype(np.float32)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), labels


def made_scores(genuine: int, impostor: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Squared distances in random order, and which are of genuine pairs."""
    random = np.random.default_rng(0)
    same = random.permutation(np.repeat([True, False], [genuine, impostor]))
    centre, spread = np.where(same, 1.0, 1.9), np.where(same, 0.25, 0.12)
    return np.clip(random.normal(centre, spread), 0, 4), same


def loop_over_thresholds(
    distances: npt.NDArray[np.float64], same: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]
) -> list[float]:
    """The held-out accuracies, one threshold after the other."""
    accuracies = []
    for fold in range(FOLDS):
        held_out = folds == fold
        scores = []
        for threshold in THRESHOLDS:
            accepted = distances[~held_out] < threshold
            scores.append(np.mean(accepted == same[~held_out]))
        best = THRESHOLDS[int(np.argmax(scores))]
        accuracies.append(float(np.mean((distances[held_out] < best) == same[held_out])))
    return accuracies


def pairs() -> None:
    from facedistill.evaluation.folds import contiguous_folds
    from facedistill.evaluation.metrics import fold_accuracies, squared_distances

    embeddings, labels = made_people(12_000, 3_000)
    random = np.random.default_rng(1)
    order = np.argsort(labels, kind="stable")
    together = np.stack([order[:-1], order[1:]], axis=1)
    genuine = random.permutation(together[labels[together[:, 0]] == labels[together[:, 1]]])[:3000]
    drawn = random.integers(len(labels), size=(4000, 2))
    chosen = random.permutation(np.concatenate([genuine, drawn[labels[drawn[:, 0]] != labels[drawn[:, 1]]][:3000]]))
    same = labels[chosen[:, 0]] == labels[chosen[:, 1]]
    folds = contiguous_folds(len(chosen), FOLDS)
    distances = squared_distances(embeddings, chosen)
    slow = loop_over_thresholds(distances, same, folds)
    # The loop takes the mean of a fold's shares, ours counts; equal to the last digit they both are.
    if list(fold_accuracies(distances, same, folds).accuracies) != slow:
        raise SystemExit("the figures differ")
    ratios = []
    for _ in range(7):
        started = time.perf_counter()
        loop_over_thresholds(distances, same, folds)
        theirs = time.perf_counter() - started
        started = time.perf_counter()
        figures(distances, same, folds)
        ratios.append(theirs / (time.perf_counter() - started))
    print(
        f"6,000 pairs, accuracy {100 * np.mean(slow):.2f} %: all figures {statistics.median(ratios):.0f} times as fast "
        f"as a loop for the accuracy alone ({min(ratios):.0f} to {max(ratios):.0f})"
    )


def figures(
    distances: npt.NDArray[np.float64], same: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]
) -> tuple[object, ...]:
    """Everything that is read from distances."""
    from facedistill.evaluation.metrics import SortedDistances, fold_accuracies

    in_order = SortedDistances.of(distances, same)
    curve = in_order.roc()
    points = [in_order.operating_point(far) for far in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)]
    accuracies = fold_accuracies(distances, same, folds)
    return accuracies, in_order.best_threshold(), curve.area, curve.equal_error_rate, points


def many() -> None:
    distances, same = made_scores(19_557, 15_638_932)
    folds = np.arange(len(same)) % FOLDS
    started = time.perf_counter()
    figures(distances, same, folds)
    print(f"15.7 million scores, all figures: {time.perf_counter() - started:.1f} s")


def all_pairs_of(images: int, people: int, resamples: int) -> None:
    from facedistill.evaluation.all_pairs import all_pairs

    embeddings, labels = made_people(images, people)
    started = time.perf_counter()
    result = all_pairs(embeddings, labels, name="made", resamples=resamples)
    tars = ", ".join(f"{100 * tar:.1f}" for tar in result.tar_at_far.values() if tar is not None)
    print(
        f"all {result.genuine + result.impostor:,} pairs of {images:,} embeddings, {resamples} resamples: "
        f"{time.perf_counter() - started:.1f} s (TAR {tars})"
    )


def throughput(model: Path) -> None:
    from facedistill.data.synthetic import SyntheticFaces
    from facedistill.embedders.load import load_embedder
    from facedistill.evaluation.descriptors import describe

    embedder = load_embedder(model)
    dataset = SyntheticFaces(128, 4, size=embedder.preprocessing.size)
    crops = np.stack([dataset.image(index) for index in range(len(dataset))])

    class InMemory:
        def __len__(self) -> int:
            return len(crops)

        def image(self, index: int) -> npt.NDArray[np.uint8]:
            return crops[index]

        def encoded(self, index: int) -> bytes:
            return crops[index].tobytes()

        def key(self, index: int) -> str:
            return str(index)

    ratios = []
    for _ in range(5):
        started = time.perf_counter()
        for start in range(0, len(crops), 64):
            batch = crops[start : start + 64]
            embedder.embed(batch)
            embedder.embed(np.ascontiguousarray(batch[:, :, ::-1]))
        bare = time.perf_counter() - started
        started = time.perf_counter()
        describe(embedder, InMemory(), batch_size=64)
        ratios.append((time.perf_counter() - started) / bare)
    print(
        f"{len(crops)} images and their mirror images: describe takes {statistics.median(ratios):.3f} times as long as "
        f"the network alone ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {
        "pairs": pairs,
        "many": many,
        "all-pairs": lambda: all_pairs_of(3_708, 1_711, 200),
        "blocks": lambda: all_pairs_of(100_000, 20_000, 0),
        "throughput": lambda: throughput(arguments.model),
    }
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"Of {', '.join(parts)}; all by default.")
    parser.add_argument("--model", type=Path, help="Of the throughput; without it, that is left out.")
    parser.add_argument("--only", choices=parts, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        parts[arguments.only]()
        print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", flush=True)
        return
    for part in arguments.parts or [part for part in parts if part != "throughput" or arguments.model]:
        model = ["--model", str(arguments.model)] if arguments.model else []
        subprocess.run([sys.executable, __file__, *model, "--only", part], check=True)


if __name__ == "__main__":
    main()
