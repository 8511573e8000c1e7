"""The tables of a card: what was measured, by benchmark and precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from facedistill.card.blocks import Block, Points, Table, Words
from facedistill.evaluation.metrics import far_label
from facedistill.saved_results import (
    AllPairsFigures,
    Benched,
    Ends,
    Exported,
    IjbFigures,
    Judged,
    PairFigures,
    ReadFigures,
    SavedThreshold,
)


def figure_blocks(judged: Sequence[tuple[str, Judged]]) -> tuple[Block, ...]:
    """Accuracy and TAR of every benchmark, as far as there is one; from (what to call the form, its results)."""
    blocks = [
        _pairs_table([(form, each) for form, model in judged for each in model.benchmarks]),
        _all_pairs_table([(form, each) for form, model in judged for each in model.all_pairs]),
        *_ijb_tables([(form, each) for form, model in judged for each in model.ijb]),
    ]
    return tuple(block for block in blocks if block is not None)


def _pairs_table(found: Sequence[tuple[str, PairFigures]]) -> Table | None:
    if not found:
        return None
    fars = _resolved(each.tar_at_far for _, each in found)
    rows = []
    for form, each in found:
        ends = each.intervals or {}
        accuracy = f"{100 * each.accuracy:.2f} ± {100 * each.accuracy_std:.2f}"
        cells = [accuracy + _spell_ends(ends.get("accuracy")), _percent(each.eer, ends.get("eer"))]
        cells += [_percent(each.tar_at_far.get(far), ends.get(far)) for far in fars]
        rows.append((each.name, form, f"{each.pairs:,}", *cells))
    heads = ("pair list", "precision", "pairs", "accuracy, %", "EER, %", *(f"TAR at FAR {far}, %" for far in fars))
    return Table(heads, tuple(rows))


def _all_pairs_table(found: Sequence[tuple[str, AllPairsFigures]]) -> Table | None:
    if not found:
        return None
    fars = _resolved(each.tar_at_far for _, each in found)
    rows = [
        (
            each.name,
            form,
            f"{each.images:,} of {each.identities:,}",
            *(_percent(each.tar_at_far.get(far), (each.intervals or {}).get(far)) for far in fars),
        )
        for form, each in found
    ]
    return Table(
        ("all pairs of", "precision", "images of people", *(f"TAR at FAR {far}, %" for far in fars)), tuple(rows)
    )


def _ijb_tables(found: Sequence[tuple[str, IjbFigures]]) -> list[Table]:
    if not found:
        return []
    fars = _resolved(each.pairs.tar_at_far for _, each in found)
    one = tuple(
        (each.name, form, f"{each.templates:,}", *(_percent(each.pairs.tar_at_far.get(far)) for far in fars))
        for form, each in found
    )
    tables = [Table(("1:1", "precision", "templates", *(f"TAR at FAR {far}, %" for far in fars)), one)]
    searched = [(form, each.name, each.identification) for form, each in found if each.identification is not None]
    if searched:
        ranks = list(dict.fromkeys(rank for _, _, each in searched for rank in each.rank))
        fpirs = _resolved(each.tpir_at_fpir for _, _, each in searched)
        rows = tuple(
            (
                name,
                form,
                *(_percent(each.rank.get(rank)) for rank in ranks),
                *(_percent(each.tpir_at_fpir.get(fpir)) for fpir in fpirs),
            )
            for form, name, each in searched
        )
        heads = (*(f"rank-{rank}, %" for rank in ranks), *(f"TPIR at FPIR {fpir}, %" for fpir in fpirs))
        tables.append(Table(("1:N", "precision", *heads), rows))
    return tables


def export_blocks(exported: Sequence[tuple[str, Exported]]) -> tuple[Block, ...]:
    """How closely the exported files follow what they were made of."""
    parities = [(form, each) for form, export in exported for each in export.parity]
    drops = [(form, each) for form, export in exported for each in export.accuracy]
    blocks: list[Block] = []
    if parities:
        rows = tuple(
            (
                form,
                f"{each.count} {each.images}",
                f"{each.mean_cosine:.6f}",
                f"{each.lowest_cosine:.6f}",
                f"{each.largest_difference:.1e}",
            )
            for form, each in parities
        )
        heads = ("precision", "beside its source on", "mean cosine", "lowest cosine", "largest difference")
        blocks.append(Table(heads, rows))
    if drops:
        accuracies = tuple((form, each.benchmark, _percent(each.before), _percent(each.after)) for form, each in drops)
        blocks.append(Table(("precision", "gate", "accuracy of the source, %", "of the file, %"), accuracies))
    return tuple(blocks)


def slice_blocks(judged: Sequence[tuple[str, Judged]]) -> tuple[Block, ...]:
    """Figures by group, or the sentence that nobody has measured any."""
    found = [(form, each) for form, model in judged for each in model.slices]
    if not found:
        return (
            Words(
                "None was measured: whether it works worse for some people, by age, sex, skin or whatever else, is not "
                "known. facedistill eval --slice-by COLUMN measures it where a list has such a column."
            ),
        )
    blocks: list[Block] = []
    for form, each in found:
        columns, rows = each.table()
        blocks += [
            Words(f"{each.name} by {each.column}, {form}; shares in %, with 95 % intervals of pairs taken one by one."),
            Table(tuple(columns), tuple(map(tuple, rows))),
        ]
        warnings = tuple(each.warnings())
        blocks += [Points(warnings)] if warnings else []
    return tuple(blocks)


def doubts_of(judged: Sequence[tuple[str, Judged]]) -> tuple[str, ...]:
    """Everything that the results warn of, once each."""
    lines: dict[str, None] = {}
    for form, model in judged:
        read: tuple[ReadFigures, ...] = (*model.benchmarks, *model.all_pairs)
        known = [(each.name, each.warnings) for each in read]
        known += [(each.name, each.identification.warnings) for each in model.ijb if each.identification is not None]
        for name, warnings in known:
            lines |= {f"{name}, {form}: {warning}": None for warning in warnings}
    return tuple(lines)


def threshold_table(saved: Sequence[SavedThreshold], form: str, judged: Sequence[tuple[str, Judged]]) -> Table | None:
    """Operating points: those saved in the file, those chosen for an application, and those read on benchmarks."""
    points = [(each, "saved in the file", form) for each in saved]
    points += [(each, "facedistill threshold", own) for own, model in judged for each in model.thresholds]
    rows: dict[tuple[str, ...], tuple[str, ...]] = {}
    for each, origin, own in points:
        cells = (each.benchmark, own, far_label(each.far), f"{each.cosine:.4f}")
        rows.setdefault(cells, (*cells, f"{2 - 2 * each.cosine:.4f}", _percent(each.tar), origin))
    for own, model in judged:
        read: tuple[ReadFigures, ...] = (*model.benchmarks, *model.all_pairs)
        for figures in read:
            for use, cut in figures.thresholds.items():
                cells = (figures.name, own, "best accuracy" if use == "accuracy" else use, f"{cut.cosine:.4f}")
                tar = None if use == "accuracy" else figures.tar_at_far.get(use)
                rows.setdefault(cells, (*cells, f"{cut.squared_l2:.4f}", _percent(tar), "facedistill eval"))
    if not rows:
        return None
    heads = ("measured on", "precision", "FAR", "cosine above", "L2² below", "TAR, %", "from")
    return Table(heads, tuple(rows.values()))


def latency_blocks(benched: Sequence[tuple[str, Benched]]) -> tuple[Block, ...]:
    """What bench measured, a table a machine."""
    blocks: list[Block] = []
    for machine in dict.fromkeys(_machine(each.machine) for _, each in benched):
        here = [(form, each) for form, each in benched if _machine(each.machine) == machine]
        batches = list(dict.fromkeys(latency.batch for _, each in here for latency in each.throughputs))
        rows = []
        for form, each in here:
            for latency in each.latencies:
                speeds = {
                    found.batch: f"{found.images_per_second:,.0f}"
                    for found in each.throughputs
                    if found.threads == latency.threads
                }
                times = (f"{1e3 * value:.2f}" for value in (latency.median, latency.high, latency.slowest))
                rows.append((form, str(latency.threads), *times, *(speeds.get(batch, "-") for batch in batches)))
        heads = ("median, ms", "90 %, ms", "99 %, ms", *(f"faces/s, batch {batch}" for batch in batches))
        blocks += [
            Words(f"From a uint8 crop to its embedding, preprocessing included, measured on {machine}."),
            Table(("precision", "threads", *heads), tuple(rows)),
        ]
        peaks = [f"{form} {each.peak_bytes / 1e6:.0f} MB" for form, each in here if each.peak_bytes is not None]
        blocks += [Words(f"Peak memory beyond the bare process: {', '.join(peaks)}.")] if peaks else []
    return tuple(blocks)


def _machine(machine: Mapping[str, Any]) -> str:
    parts = [str(machine.get("processor", "an unknown processor"))]
    parts += [f"{machine['processors']} processors"] if "processors" in machine else []
    parts += [str(machine["system"])] if "system" in machine else []
    parts += [f"{name} {machine[name]}" for name in ("onnxruntime", "torch") if name in machine]
    return ", ".join(parts)


def _resolved(rates: Iterable[Mapping[str, float | None]]) -> list[str]:
    """The labels that at least one model has a rate for, in the order met."""
    return list(dict.fromkeys(label for each in rates for label, rate in each.items() if rate is not None))


def _percent(rate: float | None, ends: Ends | None = None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}{_spell_ends(ends)}"


def _spell_ends(ends: Ends | None) -> str:
    return "" if ends is None else f" ({100 * ends[0]:.2f} to {100 * ends[1]:.2f})"
