"""The tables of an inspection: column names and rows of text."""

from __future__ import annotations

from collections.abc import Iterator

from facedistill.counted import counted
from facedistill.inspection.report import InspectReport
from facedistill.shown_name import shown_name

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
Row = tuple[str, ...]


def all_tables(report: InspectReport) -> list[Table]:
    """Those that have rows, in the order in which they are printed."""
    tables = (
        contents_table(report),
        alignment_table(report),
        model_table(report),
        overlap_table(report),
        findings_table(report),
    )
    return [table for table in tables if table[1]]


def contents_table(report: InspectReport) -> Table:
    """What there is."""
    width, height = report.common_size
    across = [group for group in report.duplicates if group.identities > 1]
    rows: list[Row] = [("images", str(report.images)), ("identities", str(report.identities))]
    if report.image_counts is not None:
        quantiles = ", ".join(f"{name} {value:g}" for name, value in report.image_counts.quantiles.items())
        rows.append(("images per identity", quantiles))
        rows.append(("identities with one image", str(report.single_identities)))
    if report.outside:
        rows.append(("images without an identity", str(report.outside)))
    order = report.label_order
    if order is not None:
        apart = "shuffled" if order.shuffled else f"{order.scattered} of {order.several}"
        rows.append(("identities whose images lie apart", apart))
        rows.append(("identities without an image", str(order.empty)))
    most_common = counted(report.common_size_images, "image", "images")
    rows += [
        ("size", f"{width} x {height} ({most_common}), sizes in all: {report.size_counts}"),
        ("colour", _listed(report.colours)),
        ("formats", _listed(report.formats)),
    ]
    if report.is_folder:
        rows += [
            ("other files", _listed(report.other_files)),
            ("symbolic links out of the folder", str(len(report.outside_links))),
        ]
    rows += [
        ("no whole image", str(len(report.unreadable))),
        ("equal pictures across identities", str(len(across))),
        ("equal pictures within an identity", str(len(report.duplicates) - len(across))),
        ("near-duplicates across identities", str(len(report.near_duplicates))),
    ]
    return ("what", "found"), rows


def alignment_table(report: InspectReport) -> Table:
    """The alignment; without rows where it was not looked at."""
    check = report.alignment
    rows: list[Row] = []
    if check is not None:
        rows += [
            ("verdict", check.verdict),
            ("images looked at", f"{check.sampled}, by {check.detector}"),
            ("no face seen", f"{100 * check.unseen_share:.1f} %"),
        ]
        if check.spread_p90 is not None:
            rows += [
                ("landmarks from the template, median", f"{check.error_median:.2f} px"),
                ("landmarks from the template, 90th percentile", f"{check.error_p90:.2f} px"),
                ("faces from their common place, 90th percentile", f"{check.spread_p90:.2f} px"),
                ("common place from the template", f"{check.offset:.2f} px"),
            ]
    return ("alignment, in pixels of a 112 crop", "found"), rows


def model_table(report: InspectReport) -> Table:
    """What the model says of the labels; without rows where none judged them."""
    noise = report.label_noise
    rows: list[Row] = []
    if noise is not None:
        named = sum(image.looks_like is not None for image in noise.wrong)
        rows += [
            ("model", shown_name(noise.model)),
            ("images in identities of three or more", str(noise.judged)),
            ("images unlike their identity", f"{len(noise.wrong)}, {named} of them like another identity"),
            ("cosine below which an image is unlike it", f"{noise.stranger:.3f}"),
            ("identities of two images that show two people", str(len(noise.split))),
            ("pairs of identities that look like one person", str(len(noise.pairs) + noise.more_pairs)),
            ("cosine from which two identities do", f"{noise.alike:.3f}"),
        ]
    return ("labels, judged by the model", "found"), rows


def overlap_table(report: InspectReport) -> Table:
    """One row a benchmark."""
    rows: list[Row] = []
    for overlap in report.overlaps:
        kinds = [picture.likeness for picture in overlap.pictures]
        rows.append(
            (
                shown_name(overlap.benchmark),
                str(overlap.images),
                str(kinds.count("the same bytes")),
                str(kinds.count("the same pixels")),
                str(kinds.count("one picture in two versions")),
                "-" if overlap.people is None else str(len(overlap.people)),
                "-" if overlap.threshold is None else f"{overlap.threshold:.3f}",
            )
        )
    columns = (
        "benchmark",
        "images",
        "same bytes",
        "same pixels",
        "near-duplicates",
        "people in both",
        "from a cosine of",
    )
    return columns, rows


def findings_table(report: InspectReport, most: int = 10) -> Table:
    """The first `most` of each kind that want a look."""
    rows = [*_about_pictures(report, most), *_about_labels(report, most), *_about_overlaps(report, most)]
    return ("finding", "file or identity", "other one or reason"), rows


def _about_pictures(report: InspectReport, most: int) -> Iterator[Row]:
    for name, reason in report.unreadable[:most]:
        yield "no whole image", shown_name(name), reason
    for group in report.duplicates[:most]:
        kind = "equal, across identities" if group.identities > 1 else "equal, one identity"
        first, *others = map(shown_name, group.names[:4])
        yield kind, first, ", ".join(others) + (", ..." if group.names[4:] else "")
    for pair in report.near_duplicates[:most]:
        yield "near-duplicate", shown_name(pair.first), f"{shown_name(pair.second)} ({pair.score:.3f})"


def _about_labels(report: InspectReport, most: int) -> Iterator[Row]:
    noise = report.label_noise
    if noise is None:
        return
    for image in noise.wrong[:most]:
        if image.looks_like is None:
            who = f"like nobody here ({image.other_cosine:.3f} at most)"
        else:
            who = f"like {shown_name(image.looks_like)} ({image.other_cosine:.3f})"
        yield f"unlike its identity ({image.cosine:.3f})", shown_name(image.name), who
    for identity in noise.split[:most]:
        yield "two images, two people", shown_name(identity), ""
    for same in noise.pairs[:most]:
        yield "one person, two identities", shown_name(same.first), f"{shown_name(same.second)} ({same.cosine:.3f})"


def _about_overlaps(report: InspectReport, most: int) -> Iterator[Row]:
    for overlap in report.overlaps:
        for picture in overlap.pictures[:most]:
            other = f"{shown_name(overlap.benchmark)}: {shown_name(picture.other)}"
            yield f"in a benchmark, {picture.likeness}", shown_name(picture.name), other
        for person in (overlap.people or ())[:most]:
            other = f"{shown_name(overlap.benchmark)}: {shown_name(person.other)} ({person.cosine:.3f})"
            yield "in a benchmark, by the model", shown_name(person.name), other


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {shown_name(name)}" for name, count in counts.items()) or "0"
