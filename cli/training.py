"""What `train-teacher` and `distill` have in common: the data, the benchmark to follow, and what they print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import note, print_table, say

if TYPE_CHECKING:
    from facedistill.data.dataset import FaceDataset
    from facedistill.embedders.torch_embedder import TorchEmbedder
    from facedistill.evaluation.benchmark import Benchmark


def open_training_data(
    data: Sequence[Path], identities: Path | None, exclude: Path | None, *, quiet: bool
) -> FaceDataset:
    """The data sets as one, limited to the listed people and without what is excluded, and a line about its size."""
    from facedistill.counted import counted
    from facedistill.data.exclusions import read_exclusions
    from facedistill.data.identity_list import read_identities
    from facedistill.data.open_dataset import open_dataset

    names = None if identities is None else read_identities(identities)
    exclusions = None if exclude is None else read_exclusions(exclude)
    dataset = open_dataset(data, identities=names, exclusions=exclusions, note=note)
    images = counted(len(dataset), "image", "images")
    people = counted(len(dataset.identities), "person", "people")
    say(f"{images} of {people} in {', '.join(map(str, data))}", quiet=quiet)
    if names is not None and len(dataset.identities) < len(names):
        say(f"{len(names) - len(dataset.identities)} of the {len(names)} listed people have no images", quiet=quiet)
    return dataset


def open_benchmark(dataset: FaceDataset, pairs: Path | None, images: Path | None) -> Benchmark | None:
    """The pair list to follow, None where none was given; a note where it shares people with the training data."""
    from facedistill.errors import UsageError

    if pairs is None and images is None:
        return None
    if pairs is None or images is None:
        raise UsageError("--pairs and --images go together", next_step="Give both, or neither")
    from facedistill.evaluation.pair_list import load_pair_list

    benchmark = load_pair_list(pairs, images)
    judged = {benchmark.dataset.key(index).rpartition("/")[0] for index in range(len(benchmark.dataset))}
    shared = sorted(judged & set(dataset.identities))
    if shared:
        note(
            f"{len(shared)} people of the benchmark are among those trained on, such as {shared[0]}; "
            "its figures will flatter"
        )
    return benchmark


def follower(benchmark: Benchmark | None) -> Callable[[TorchEmbedder], dict[str, float]] | None:
    """A function that judges a model on the benchmark after an epoch; None where there is none."""
    if benchmark is None:
        return None
    from facedistill.evaluation.verification import evaluate_verification

    def evaluate(embedder: TorchEmbedder) -> dict[str, float]:
        result = evaluate_verification(embedder, benchmark, batch_size=128)
        return {"accuracy": result.accuracy, "accuracy_std": result.accuracy_std}

    return evaluate


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
