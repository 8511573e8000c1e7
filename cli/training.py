"""What `train-teacher` and `distill` have in common: the data, the benchmark to follow, and what they print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import note, print_table, progress, say, write_json
from .training_options import TrainingArguments

if TYPE_CHECKING:
    from facedistill.data.dataset import FaceDataset
    from facedistill.embedders.torch_embedder import TorchEmbedder
    from facedistill.evaluation.benchmark import Benchmark
    from facedistill.training.listeners import Listeners
    from facedistill.training.run_folder import RunFolder
    from facedistill.training.training import Training

Follow = Callable[["TorchEmbedder"], dict[str, float]]


def open_run(
    data: Sequence[Path], out: Path, shared: TrainingArguments
) -> tuple[FaceDataset, Follow | None, RunFolder]:
    """The data, what judges a model after an epoch, and the folder of the run."""
    from facedistill.errors import UsageError
    from facedistill.training.run_folder import RunFolder

    for name in ("eval_every", "patience"):
        if getattr(shared, name) is not None and shared.pairs is None:
            raise UsageError(
                "there is no benchmark to follow",
                place="--" + name.replace("_", "-"),
                next_step="Add --pairs and --images",
            )
    dataset = open_training_data(data, shared.identities, shared.exclude, quiet=shared.quiet)
    follow = follower(open_benchmark(dataset, shared.pairs, shared.images))
    return dataset, follow, RunFolder(out, overwrite=shared.overwrite, resume=resume_mode(shared.resume))


def resume_mode(value: Any) -> str:
    """One of yes, auto and no; YAML makes truth values of yes and no."""
    return {"True": "yes", "true": "yes", "False": "no", "false": "no"}.get(str(value), str(value))


def inputs_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's arguments that its run's configuration repeats beside the options."""
    from facedistill.training.preparation import INPUTS

    return {name: arguments[name] for name in sorted(INPUTS) if arguments.get(name) not in (None, [])}


@contextmanager
def listeners_of(shared: TrainingArguments, epochs: int, follow: Follow | None) -> Iterator[Listeners]:
    """A display of how the run goes, and the services that its records are sent to."""
    from facedistill.training.listeners import Listeners
    from facedistill.training.loggers import make_loggers
    from facedistill.training.processes import others_may_end

    loggers = make_loggers(shared.logger, note=note)
    with (
        others_may_end(),
        progress("teacher", quiet=shared.quiet) as on_embedded,
        progress("training", unit="steps", quiet=shared.quiet) as on_step,
    ):
        try:
            yield Listeners(
                follow=follow,
                teacher_progress=on_embedded,
                progress=on_step,
                status=lambda record: on_step.tell(status_line(record)),
                on_record=lambda record: say(record_line(record, epochs), quiet=shared.quiet),
                note=note,
                loggers=loggers,
            )
        except KeyboardInterrupt as interruption:
            if str(interruption):
                raise
            raise KeyboardInterrupt(
                "no step was taken that is not saved. Run it again as before; a teacher's pass over the data is kept "
                "by facedistill embed"
            ) from interruption


def train(training: Training, shared: TrainingArguments) -> None:
    """Train, or only find the largest batch, and print the end."""
    if shared.find_batch_size:
        from facedistill.training.batch_size import largest_batch

        size = largest_batch(training)
        say(f"--batch-size {size} is the largest that this GPU has room for", quiet=shared.quiet)
        write_json(shared.json_file, {"batch_size": size})
        return
    from facedistill.training.loop import fit

    records = fit(training)
    write_card(training.run.path)
    print_run(training.run.path, records, quiet=shared.quiet)
    write_json(shared.json_file, {"run": str(training.run.path), "records": records})


def write_card(run: Path) -> None:
    """The card of a finished run, into its folder; of several processes, by the first."""
    from facedistill.launcher import launched

    if not launched().first:
        return
    from facedistill.card.write import write_run_card
    from facedistill.errors import FacedistillError

    try:
        write_run_card(run)
    except FacedistillError as error:  # the run is done all the same
        note(f"no model card is written: {error}")


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
        result = evaluate_verification(embedder, benchmark, batch_size=128, shared=True)
        return {"accuracy": result.accuracy, "accuracy_std": result.accuracy_std}

    return evaluate


# How a record's figures are written in a line: those in %, and the others.
PERCENTAGES = {"train_accuracy": "train accuracy", "active": "active", "accuracy": "benchmark accuracy"}
NUMBERS = {
    "margin": "margin",
    "teacher_gap": "teacher gap",
    "positive_distance": "positive",
    "negative_distance": "negative",
    "cosine": "cosine",
}


def figures_line(record: dict[str, Any]) -> list[str]:
    """A record's loss and figures, each as it is written."""
    parts = [f"loss {record['loss']:.4f}"]
    # Of several terms, each one's own.
    parts += [
        f"{name.replace('_', '-')[:-5]} loss {value:.4f}" for name, value in record.items() if name.endswith("_loss")
    ]
    if "triplets" in record:
        parts.append(f"{record['triplets']:.0f} triplets")
    parts += [f"{label} {100 * record[name]:.2f} %" for name, label in PERCENTAGES.items() if name in record]
    parts += [f"{label} {record[name]:.3f}" for name, label in NUMBERS.items() if name in record]
    return parts


def record_line(record: dict[str, Any], epochs: int) -> str:
    """One record as a line to print."""
    parts = [f"epoch {record['epoch']}/{epochs}", f"step {record['step']}", *figures_line(record)]
    parts.append(f"{record['images_per_second']:.0f} images/s")
    if record["waiting_for_images"] > 0.05:
        parts.append(f"{100 * record['waiting_for_images']:.0f} % of the time waiting for them")
    return ", ".join(parts)


def status_line(record: dict[str, Any]) -> str:
    """How the run goes now, in a few words."""
    parts = [f"epoch {record['epoch']}", *figures_line(record)[:3], f"{record['images_per_second']:.0f} images/s"]
    parts.append(f"{100 * record['waiting_for_images']:.0f} % waiting")
    if "gpu_memory" in record:
        parts.append(f"{record['gpu_memory'] / 2**30:.1f} GiB")
    return ", ".join(parts)


def print_run(out: Path, records: list[dict[str, Any]], *, quiet: bool) -> None:
    """The end of a run: where the weights are, and what they reached."""
    last = records[-1]
    rows = [(name.replace("_", " "), f"{value:g}") for name, value in last.items()]
    print_table(f"{out}: last record", ("figure", "value"), rows, quiet=quiet)
    say(f"weights: {out / 'last' / 'backbone.safetensors'}", quiet=quiet)
