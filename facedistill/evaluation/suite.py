"""A suite: many benchmarks named in one YAML file.

    benchmarks:
      - {pairs: lfw/pairs.txt, images: lfw/crops, name: LFW}
      - {bin: agedb_30.bin}
      - {all-pairs: crops, identities: peopleDevTest.txt}

Paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from facedistill.data.dataset import FaceDataset
from facedistill.data.identity_list import read_identities
from facedistill.data.open_dataset import open_dataset
from facedistill.errors import DataError, UsageError, unknown_name
from facedistill.evaluation.benchmark import Benchmark, load_bin_benchmark
from facedistill.evaluation.pair_list import load_pair_list

KEYS = {"pairs": ("images", "name"), "bin": ("name",), "all-pairs": ("identities", "name")}
"""What an entry is by, and what it may have beside that."""


@dataclass(frozen=True)
class LabelledSet:
    """A data set of which all pairs are judged.

    Args:
        name: what to call it in a table.
        dataset: the images with their identities.
    """

    name: str
    dataset: FaceDataset


@dataclass(frozen=True)
class Suite:
    """What a model is judged on.

    Args:
        benchmarks: pair lists and `.bin` sets.
        labelled: data sets of which all pairs are judged.
    """

    benchmarks: tuple[Benchmark, ...] = ()
    labelled: tuple[LabelledSet, ...] = ()

    def __add__(self, other: Suite) -> Suite:
        """Both, one after the other."""
        return Suite(self.benchmarks + other.benchmarks, self.labelled + other.labelled)


def open_labelled(
    data: Path, identities: Path | None = None, *, name: str | None = None, note: Callable[[str], None] | None = None
) -> LabelledSet:
    """A data set, or some people of it, by its path; errors as of `open_dataset`."""
    people = None if identities is None else read_identities(identities)
    usual = data.name if identities is None else f"{data.name}, {identities.stem}"
    return LabelledSet(name or usual, open_dataset(data, identities=people, note=note))


def load_suite(path: Path, *, note: Callable[[str], None] | None = None) -> Suite:
    """Open everything that a suite names, so that a fault in its last line is told before the first is judged.

    Raises:
        UsageError: no such file, or an entry that names no benchmark, with the entry's number.
        DataError: the file is no YAML; and whatever a benchmark raises.
    """
    suite = Suite()
    for number, entry in enumerate(_entries(path), start=1):
        place = f"{path}, benchmark {number}"
        kind = _kind_of(entry, place)
        name = entry.get("name")
        where = {key: path.parent / value for key, value in entry.items() if key != "name"}
        if kind == "all-pairs":
            found = open_labelled(where[kind], where.get("identities"), name=name, note=note)
            suite += Suite(labelled=(found,))
            continue
        if kind == "pairs" and "images" not in entry:
            raise UsageError("a pair list needs its images", place=place, next_step="Add images: FOLDER")
        benchmark = load_bin_benchmark(where[kind]) if kind == "bin" else load_pair_list(where[kind], where["images"])
        suite += Suite((replace(benchmark, name=name or benchmark.name),))
    return suite


def _entries(path: Path) -> list[dict[str, str]]:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("there is no such suite", place=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the suite cannot be read", place=path) from error
    except yaml.YAMLError as error:
        raise DataError(f"the suite is no YAML: {' '.join(str(error).split())}", place=path) from error
    entries = content.get("benchmarks") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UsageError(
            "the suite names no benchmark",
            place=path,
            next_step="Write benchmarks:, and below it entries such as - {pairs: pairs.txt, images: crops}",
        )
    return entries


def _kind_of(entry: Any, place: str) -> str:
    """By which of `KEYS` an entry is; UsageError where by none, by several, or with a key that has no meaning there."""
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in (*entry, *entry.values())):
        raise UsageError("an entry has keys and paths, such as {bin: lfw.bin}", place=place)
    kinds = [kind for kind in KEYS if kind in entry]
    known = [key for kind in kinds or KEYS for key in (kind, *KEYS[kind])]
    for key in entry:
        if key not in known:
            error = unknown_name("key", key, list(dict.fromkeys(known)))
            raise UsageError(error.cause, place=place, next_step=error.next_step)
    if len(kinds) != 1:
        said = " and ".join(kinds) if kinds else f"none of {', '.join(KEYS)}"
        raise UsageError(f"an entry is of one kind, and this has {said}", place=place)
    return kinds[0]
