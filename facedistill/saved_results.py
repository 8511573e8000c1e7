"""Results that commands wrote with `--json`, read back: of which model they are, and what they say of it.

The file tells by its keys which command wrote it; what a later version may add is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facedistill.bench.latency import Latency
from facedistill.errors import DataError
from facedistill.evaluation.slices import SlicesResult


class _Saved(BaseModel):
    """A part of such a file, frozen, whose numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


Ends = tuple[float, float]


class Cut(_Saved):
    """A threshold: accept where the squared L2 distance is below `squared_l2`, the cosine above `cosine`."""

    squared_l2: float
    cosine: float


class ReadFigures(_Saved):
    """What is read at fixed FARs, on whatever pairs; rates are fractions."""

    name: str
    tar_at_far: dict[str, float | None]
    thresholds: dict[str, Cut] = {}
    intervals: dict[str, Ends | None] | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class PairFigures(ReadFigures):
    """A model on a pair list, as `VerificationResult.to_dict` has it."""

    pairs: int
    accuracy: float
    accuracy_std: float
    eer: float
    resampled: str | None = None
    source_sha256: str | None = None


class AllPairsFigures(ReadFigures):
    """A model on all pairs of a data set, as `AllPairsResult.to_dict` has it."""

    images: int
    identities: int
    fingerprint: str | None = None


class TemplatePairs(_Saved):
    """The 1:1 part of IJB, as `TemplatePairFigures.to_dict` has it."""

    genuine: int
    impostor: int
    tar_at_far: dict[str, float | None]


class Identified(_Saved):
    """The 1:N part of IJB, as `IdentificationResult.to_dict` has it."""

    rank: dict[str, float | None]
    tpir_at_fpir: dict[str, float | None]
    warnings: tuple[str, ...] = ()


class IjbFigures(_Saved):
    """A model on IJB-B or IJB-C, as `IjbResult.to_dict` has it."""

    name: str
    templates: int
    pairs: TemplatePairs
    identification: Identified | None = None
    notes: tuple[str, ...] = ()


class SavedThreshold(_Saved):
    """An operating point, as `Threshold.to_dict` has it."""

    benchmark: str
    far: float = Field(gt=0, lt=1)
    cosine: float = Field(ge=-1, le=1)
    tar: float | None = None


class OfModel(_Saved):
    """Whose a result is.

    Args:
        sha256: of its weights file, as hex.
        name: what it was called.
    """

    sha256: str
    name: str


class Judged(OfModel):
    """What was found out about one model.

    Args:
        benchmarks: on pair lists.
        all_pairs: on all pairs of data sets.
        ijb: on IJB.
        slices: on parts of pair lists.
        thresholds: operating points for an application.
    """

    benchmarks: tuple[PairFigures, ...] = ()
    all_pairs: tuple[AllPairsFigures, ...] = ()
    ijb: tuple[IjbFigures, ...] = ()
    slices: tuple[SlicesResult, ...] = ()
    thresholds: tuple[SavedThreshold, ...] = ()


class Benched(OfModel):
    """What one model took, as `BenchedModel.to_dict` has it, and on what."""

    latencies: tuple[Latency, ...]
    throughputs: tuple[Latency, ...] = ()
    file_bytes: int | None = None
    peak_bytes: int | None = None
    machine: dict[str, Any] = {}


class SavedParity(_Saved):
    """How closely an exported file follows its source, as `Parity.to_dict` has it."""

    images: str
    count: int
    lowest_cosine: float
    mean_cosine: float
    largest_difference: float


class SavedDrop(_Saved):
    """The accuracy of an exported file beside its source's, as `Drop.to_dict` has it."""

    benchmark: str
    before: float
    after: float


class Exported(OfModel):
    """An ONNX file that was written.

    Args:
        precision: such as "fp32" or "int8".
        source_sha256: of the model that it was made of.
        parity: on each kind of image.
        accuracy: on each benchmark that was a gate.
    """

    precision: str | None = None
    source_sha256: str | None = None
    parity: tuple[SavedParity, ...] = ()
    accuracy: tuple[SavedDrop, ...] = ()


@dataclass(frozen=True)
class SavedResults:
    """One file.

    Args:
        path: where it lies.
        judged: one a model.
        benched: likewise.
        exported: one a file written.
    """

    path: Path
    judged: tuple[Judged, ...] = ()
    benched: tuple[Benched, ...] = ()
    exported: tuple[Exported, ...] = ()

    @property
    def models(self) -> dict[str, str]:
        """SHA-256 -> name of each model that it is about."""
        every: tuple[OfModel, ...] = (*self.judged, *self.benched, *self.exported)
        return {each.sha256: each.name for each in every}


def read_results(path: Path) -> SavedResults:
    """Read what eval, compare, threshold, bench or export wrote with `--json`.

    Raises:
        DataError: the file cannot be read, is of none of these, or lacks something that they write.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise DataError(f"the result cannot be read ({reason})", place=path) from error
    keys = set(values) if isinstance(values, dict) else set()
    reader = next((reader for needed, reader in _READERS if needed <= keys), None)
    if reader is None:
        raise DataError(
            "the file is no result of eval, compare, threshold, bench or export",
            place=path,
            next_step="Give what one of them wrote with --json",
        )
    try:
        return reader(path, values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"the result is damaged ({where}: {first['msg'].lower()})", place=path) from error
    except (LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"the result is not as it was written ({error})", place=path, next_step="Write it again, by this version"
        ) from error


def _of_eval(path: Path, values: dict[str, Any]) -> SavedResults:
    judged = {**values, "sha256": values["model_sha256"], "name": values["model"]}
    return SavedResults(path, judged=(Judged.model_validate(judged),))


def _of_compare(path: Path, values: dict[str, Any]) -> SavedResults:
    """What each model reaches, without the differences."""
    judged = []
    for number, model in enumerate(values["models"]):
        benchmarks = []
        for benchmark in values["benchmarks"]:
            found = benchmark["models"][number]
            ends = {name: each and (each["low"], each["high"]) for name, each in found["intervals"].items()}
            benchmarks.append({**found["result"], "intervals": ends, "resampled": benchmark["over"]})
        all_pairs = []
        for data in values["all_pairs"]:
            at_far = data["models"][number]["at_far"]
            all_pairs.append(
                {
                    **{name: data[name] for name in ("name", "images", "fingerprint", "notes")},
                    "identities": data["people"],
                    "tar_at_far": {far: each and each["estimate"] for far, each in at_far.items()},
                    "intervals": {far: each and (each["low"], each["high"]) for far, each in at_far.items()},
                }
            )
        judged.append({**model, "benchmarks": benchmarks, "all_pairs": all_pairs})
    return SavedResults(path, judged=tuple(map(Judged.model_validate, judged)))


def _of_bench(path: Path, values: dict[str, Any]) -> SavedResults:
    models = [{**model, "name": model["path"], "machine": values["machine"]} for model in values["models"]]
    return SavedResults(path, benched=tuple(map(Benched.model_validate, models)))


def _of_export(path: Path, values: dict[str, Any]) -> SavedResults:
    return SavedResults(path, exported=(Exported.model_validate({**values, "name": values["file"]}),))


_READERS: list[tuple[set[str], Callable[[Path, dict[str, Any]], SavedResults]]] = [
    ({"machine", "models"}, _of_bench),
    ({"models", "benchmarks", "all_pairs"}, _of_compare),
    ({"file", "sha256", "parity"}, _of_export),
    ({"model", "model_sha256", "benchmarks"}, _of_eval),
    ({"model", "model_sha256", "thresholds"}, _of_eval),
]
