"""What `train-teacher` and `distill` have in common: the data, the benchmark to follow, and what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import print_table, say

if TYPE_CHECKING:
    from facedistill.data.folder import FolderDataset
    from facedistill.embedders.torch_embedder import TorchEmbedder


def open_dataset(data: Path, identities: Path | None, *, quiet: bool) -> FolderDataset:
    """The folder of crops, limited to the listed people, and a line about its size."""
    from facedistill.data.folder import FolderDataset
    from facedistill.data.identity_list import read_identities

    names = None if identities is None else read_identities(identities)
    dataset = FolderDataset(data, names)
    say(f"{len(dataset)} images of {len(dataset.identities)} people in {data}", quiet=quiet)
    if names is not None and len(dataset.identities) < len(names):
        say(f"{len(names) - len(dataset.identities)} of the {len(names)} listed people have no images", quiet=quiet)
    return dataset


def follow_benchmark(pairs: Path | None, images: Path | None) -> Callable[[TorchEmbedder], dict[str, float]] | None:
    """A function that evaluates a model on the pair list after an epoch; None where none was given."""
    from facedistill.errors import UsageError

    if pairs is None and images is None:
        return None
    if pairs is None or images is None:
        raise UsageError("--pairs and --images go together", next_step="Give both, or neither")
    from facedistill.evaluation.pair_list import load_pair_list
    from facedistill.evaluation.verification import evaluate_verification

    benchmark = load_pair_list(pairs, images)

    def evaluate(embedder: TorchEmbedder) -> dict[str, float]:
        result = evaluate_verification(embedder, benchmark, batch_size=128)
        return {"accuracy": result.accuracy, "accuracy_std": result.accuracy_std}

    return evaluate


def check_followed_people(dataset: FolderDataset, pairs: Path | None, images: Path | None) -> list[str]:
    """People that are both trained on and judged on, by the names of their folders."""
    if pairs is None or images is None:
        return []
    from facedistill.evaluation.pair_list import load_pair_list

    benchmark = load_pair_list(pairs, images)
    judged = {benchmark.dataset.key(index).rsplit("/", 1)[0] for index in range(len(benchmark.dataset))}
    return sorted(judged & set(dataset.identities))


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """One epoch's record as a line to print."""
    parts = [f"epoch {record['epoch']}/{epochs}", f"loss {record['loss']:.4f}"]
    percentages = {"train_accuracy": "train accuracy", "active": "active", "accuracy": "benchmark accuracy"}
    numbers = {
        "margin": "margin",
        "teacher_gap": "teacher gap",
        "positive_distance": "positive",
        "negative_distance": "negative",
        "cosine": "cosine",
    }
    if "triplets" in record:
        parts.append(f"{record['triplets']:.0f} triplets")
    parts += [f"{label} {100 * record[name]:.2f} %" for name, label in percentages.items() if name in record]
    parts += [f"{label} {record[name]:.3f}" for name, label in numbers.items() if name in record]
    parts.append(f"{record['images_per_second']:.0f} images/s")
    return ", ".join(parts)


def print_run(out: Path, records: list[dict[str, Any]], *, quiet: bool) -> None:
    """The end of a run: where the weights are, and what they reached."""
    last = records[-1]
    rows = [(name.replace("_", " "), f"{value:g}") for name, value in last.items()]
    print_table(f"{out}: last epoch", ("figure", "value"), rows, quiet=quiet)
    say(f"weights: {out / 'last' / 'backbone.safetensors'}", quiet=quiet)
