"""How a model was trained, as its provenance tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from facedistill.counted import counted
from facedistill.shown_name import shown_name
from facedistill.training.run_summary import mapping, split_config

# Arguments that are names of things, or of no weight for the result.
_NO_OPTIONS = {
    *("data", "identities", "exclude", "teacher", "init", "pairs", "images", "logger", "run"),
    *("epoch", "step", "exported_from"),
}


@dataclass(frozen=True)
class TrainingFacts:
    """One training.

    Args:
        command: "train-teacher", "distill" or "prune"; None where nothing tells how the model was trained.
        rows: facts in words.
        options: every option that it was given.
        teacher: what the teacher is called; None where there was none.
        data: what the data are called, or how many they are.
        started_from: what the initial weights are called, None where they were drawn at random or nothing tells.
    """

    command: str | None
    rows: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    teacher: str | None = None
    data: str | None = None
    started_from: str | None = None


def training_facts(provenance: dict[str, Any]) -> TrainingFacts:
    """Read what a training command wrote into the checkpoint, of this version or an older one."""
    facts, options = split_config(provenance)
    command = facts.get("command")
    if not isinstance(command, str):
        return TrainingFacts(None)
    teacher, data = mapping(facts.get("teacher")), mapping(facts.get("data"))
    taught_by = without_folders(str(teacher["name"])) if "name" in teacher else None
    named = ", ".join(without_folders(str(name)) for name in _listed(options.get("data")))
    start = options.get("init", facts.get("init"))
    started = None if start is None else without_folders(str(start))
    rows = [
        ("command", f"facedistill {command}, version {facts.get('facedistill', 'unknown')}"),
        *_objective(command, options),
        ("epochs", _epochs(provenance, options)),
        ("optimisation", _optimisation(options)),
        ("seed", str(options.get("seed", "not told"))),
    ]
    if taught_by is not None:
        size = teacher.get("embedding_size")
        rows += [
            ("teacher", f"{taught_by}, embeddings of {size}"),
            ("teacher, SHA-256", str(teacher.get("fingerprint"))),
        ]
    if started is not None:
        rows.append(("initial weights", started))
    if data:
        people, images = data.get("identities"), data.get("images")
        counts = f"{counted_number(images, 'image', 'images')} of {counted_number(people, 'person', 'people')}"
        rows += [
            ("data", f"{named}: {counts}" if named else counts),
            ("data, fingerprint", str(data.get("fingerprint"))),
        ]
        named = named or counts
    return TrainingFacts(
        command,
        tuple(rows),
        tuple((name, _placeless(value)) for name, value in options.items() if name not in _NO_OPTIONS),
        taught_by,
        named or None,
        started,
    )


def counted_number(count: Any, one: str, many: str) -> str:
    """1 image, 9,525 images; an unknown number of images."""
    if not isinstance(count, int):
        return f"an unknown number of {many}"
    return counted(count, one, many) if count < 1000 else f"{count:,} {many}"


def without_folders(name: str) -> str:
    """A path's last part, also of several in one text: where somebody's files lie is nobody else's concern."""
    words = name.replace("\\", "/").split(" ")
    return shown_name(" ".join(word.rstrip("/").rpartition("/")[2] for word in words))


def _placeless(value: Any) -> Any:
    """An option's value, without the folders where it is a whole path."""
    return without_folders(value) if isinstance(value, str) and PurePath(value).is_absolute() else value


def _objective(command: str, options: dict[str, Any]) -> list[tuple[str, str]]:
    if command == "distill":
        terms = [options.get("method", "not told"), *_listed(options.get("plus"))]
        settings = ", ".join(map(str, _listed(options.get("set"))))
        return [("method", " + ".join(map(str, terms)) + (f" ({settings})" if settings else ""))]
    if command == "train-teacher":
        given = [f"{name} {_spelled(options[name])}" for name in ("scale", "margin") if options.get(name) is not None]
        return [("head", ", ".join([str(options.get("head", "not told")), *given]))]
    return []


def _epochs(provenance: dict[str, Any], options: dict[str, Any]) -> str:
    reached, planned = provenance.get("epoch"), options.get("epochs")
    if reached is None or reached == planned:
        return str(planned if planned is not None else "not told")
    return f"{reached} of {planned}"


def _optimisation(options: dict[str, Any]) -> str:
    parts = [str(options.get("optimizer", "optimiser not told"))]
    parts += [
        f"{words} {_spelled(options[name])}"
        for name, words in (("lr", "learning rate"), ("schedule", "schedule"), ("batch_size", "batches of"))
        if options.get(name) is not None
    ]
    return ", ".join(parts)


def _spelled(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(value: Any) -> list[Any]:
    """A value that may be a list, one thing or none, as a list."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
