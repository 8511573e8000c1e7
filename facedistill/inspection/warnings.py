"""What is wrong with a data set of crops, one line each, with the next step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from facedistill.align.template import TEMPLATE_NAME
from facedistill.counted import counted
from facedistill.data.images import IMAGE_SUFFIXES
from facedistill.inspection.impostors import FEWEST_IDENTITIES
from facedistill.shown_name import shown_name

if TYPE_CHECKING:
    from facedistill.inspection.report import InspectReport

# Photos in formats that are not read; other files (lists, reports) are no reason to warn.
_PHOTO_SUFFIXES = frozenset(
    {".avif", ".cr2", ".dng", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".nef", ".tif", ".tiff"}
)
_MANY_SINGLES = 0.5  # share of the identities (ours)
_MANY_UNSEEN = 0.1  # share of the sample (ours)

_LOOK = "look at them, or leave them out with --exclude-list and training's --exclude"
_LEAK = "leave them out of training, with --exclude-list and training's --exclude, or the figures there are too good"


def find_warnings(report: InspectReport) -> list[str]:
    """Every warning, the gravest kind first."""
    about = (_about_files, _about_identities, _about_copies, _about_labels, _about_overlaps, _about_crops)
    return [warning for kind in about for warning in kind(report)]


def _about_files(report: InspectReport) -> Iterator[str]:
    if report.unreadable:
        name, reason = report.unreadable[0]
        yield (
            f"{counted(len(report.unreadable), 'file is no whole image', 'files are no whole images')}, such as "
            f"{shown_name(name)}: {reason}; fetch or make them again, or delete them"
        )
    unread = {
        suffix: count
        for suffix, count in report.other_files.items()
        if suffix in _PHOTO_SUFFIXES and suffix not in IMAGE_SUFFIXES
    }
    if unread:
        suffixes = ", ".join(f"{count} {suffix}" for suffix, count in unread.items())
        yield f"photos of a format that is not read are left out ({suffixes}); convert them to .png or .jpg"
    if report.outside_links:
        yield (
            f"{counted(len(report.outside_links), 'symbolic link leads', 'symbolic links lead')} out of the folder and "
            f"{'is' if len(report.outside_links) == 1 else 'are'} not followed, such as "
            f"{shown_name(report.outside_links[0])}; copy into the folder what belongs to it"
        )


def _about_identities(report: InspectReport) -> Iterator[str]:
    if report.outside:
        yield (
            f"{counted(report.outside, 'image lies', 'images lie')} in the folder itself, so nothing says who is "
            "shown; put the images of each person into a sub-folder of their own"
        )
    if report.identities == 1:
        yield "there is one identity only, so there is no pair of two people; add others"
    if report.identities and report.single_identities >= _MANY_SINGLES * report.identities:
        yield (
            f"{report.single_identities} of {counted(report.identities, 'identity has', 'identities have')} one image, "
            "which gives no positive pair; add images, or leave these people out where pairs are needed"
        )
    order = report.label_order
    if order is None:
        return
    if order.scattered and not order.shuffled:
        yield (
            f"the images of {counted(order.scattered, 'identity', 'identities')} do not follow one another, such as "
            f"those of {shown_name(order.scattered_names[0])}, and those of the others do; see whether two people "
            "share that label, and sort the set with facedistill convert, into a folder and back"
        )
    if order.empty:
        yield (
            f"{counted(order.empty, 'identity', 'identities')} of those that the labels count "
            f"{'has' if order.empty == 1 else 'have'} no image, such as {shown_name(order.empty_names[0])}; see "
            "whether images were lost, or number the labels anew with facedistill convert, into a folder and back"
        )


def _about_copies(report: InspectReport) -> Iterator[str]:
    across = [group for group in report.duplicates if group.identities > 1]
    within = [group for group in report.duplicates if group.identities == 1]
    if across:
        first = across[0].names
        yield (
            f"{counted(len(across), 'picture is', 'pictures are')} filed under more than one identity, such as "
            f"{shown_name(first[0])} and {shown_name(first[-1])}: a wrong label or a leak; keep the right one of each"
        )
    if report.near_duplicates:
        pair = report.near_duplicates[0]
        yield (
            f"{counted(len(report.near_duplicates), 'pair of two identities shows', 'pairs of two identities show')} "
            f"one picture in two versions, such as {shown_name(pair.first)} and {shown_name(pair.second)}; look at "
            "them and keep the right one of each"
        )
    if report.unchecked_pairs:
        yield (
            f"{counted(report.unchecked_pairs, 'pair of similar hashes was', 'pairs of similar hashes were')} not "
            "compared, so near-duplicates may be missing; remove those that are listed and inspect again"
        )
    if within and not report.pair_set:
        extra = sum(len(group.names) - 1 for group in within)
        first = within[0].names
        yield (
            f"{counted(extra, 'image repeats', 'images repeat')} another of the same identity, such as "
            f"{shown_name(first[0])} and {shown_name(first[1])}; delete the copies, they give pairs that are no test"
        )


def _about_labels(report: InspectReport) -> Iterator[str]:
    noise = report.label_noise
    if noise is None:
        if report.model is not None and report.identities:
            yield (
                f"{counted(report.identities, 'identity is', 'identities are')} too few for the model to say how alike "
                f"different people are ({FEWEST_IDENTITIES} are needed), so the labels were not judged; inspect them "
                "together with more people"
            )
        return
    if noise.wrong:
        image = noise.wrong[0]
        who = "nobody else here" if image.looks_like is None else shown_name(image.looks_like)
        unlike = counted(
            len(noise.wrong), "image does not look like its identity", "images do not look like their identities"
        )
        yield f"{unlike}, such as {shown_name(image.name)}, which looks like {who}; {_LOOK}"
    if noise.split:
        yield (
            f"{counted(len(noise.split), 'identity has two images that show', 'identities have two images that show')} "
            f"two people, such as {shown_name(noise.split[0])}; {_LOOK}"
        )
    if noise.pairs:
        pair = noise.pairs[0]
        count = len(noise.pairs) + noise.more_pairs
        yield (
            f"{counted(count, 'pair of identities looks', 'pairs of identities look')} like one person, such as "
            f"{shown_name(pair.first)} and {shown_name(pair.second)} ({pair.cosine:.2f}); put the images of one person "
            "together, or leave the smaller ones out with --exclude-list and training's --exclude"
        )


def _about_overlaps(report: InspectReport) -> Iterator[str]:
    for overlap in report.overlaps:
        benchmark = shown_name(overlap.benchmark)
        if overlap.pictures:
            picture = overlap.pictures[0]
            yield (
                f"{counted(len(overlap.pictures), 'image is', 'images are')} in the benchmark {benchmark} too, such as "
                f"{shown_name(picture.name)} ({picture.likeness} as {shown_name(picture.other)}); {_LEAK}"
            )
        if overlap.people:
            person = overlap.people[0]
            yield (
                f"{counted(len(overlap.people), 'person is', 'people are')} in the benchmark {benchmark} too as the "
                f"model sees it, such as {shown_name(person.name)} (like {shown_name(person.other)}, "
                f"{person.cosine:.2f}); {_LEAK}"
            )
        if overlap.unchecked_pairs:
            yield (
                f"{counted(overlap.unchecked_pairs, 'pair of similar hashes was', 'pairs of similar hashes were')} not "
                f"compared with the benchmark {benchmark}; leave out what is listed and inspect again"
            )
        if overlap.people is None and report.model is not None:
            yield (
                f"there are too few people for the model to say who is in the benchmark {benchmark} too; give a data "
                f"set or a benchmark of {FEWEST_IDENTITIES} people or more"
            )


def _about_crops(report: InspectReport) -> Iterator[str]:
    width, height = report.common_size
    if report.size_counts > 1:
        yield (
            f"the images have {report.size_counts} sizes, most are {width} x {height}; bring them to one size with "
            "facedistill align --size"
        )
    yield from _about_alignment(report)
    made = report.made_by_align
    if made is None:
        return
    size, name = made.get("size"), made.get("template")
    if isinstance(size, int) and (width, height) != (size, size):
        yield (
            f"align-report.json says that the crops are {size} x {size}, and most are {width} x {height}; "
            "align the photos again, or remove the report if it belongs to other crops"
        )
    if name is not None and name != TEMPLATE_NAME:
        yield f"align-report.json names the template {name!r}, not {TEMPLATE_NAME!r}; use models trained on that one"
    check = report.alignment
    if (
        name == TEMPLATE_NAME
        and check is not None
        and check.verdict in ("not aligned", "aligned, but to something else")
    ):
        yield (
            "align-report.json says that the crops are aligned to the template, and the landmarks say otherwise; "
            "look at some crops, the files may have been replaced"
        )


def _about_alignment(report: InspectReport) -> Iterator[str]:
    check = report.alignment
    if check is None:
        return
    if check.verdict == "not aligned":
        yield (
            f"looks like unaligned photos, or crops around a box (faces stray by {check.spread_p90:.1f} pixels of a "
            "112 crop): run facedistill align first, on the whole photos"
        )
    elif check.verdict == "aligned, but to something else" and check.shift is not None:
        yield (
            f"aligned, but not to the ArcFace template: scale {check.scale:.2f}, turned by {check.rotation:.1f} "
            f"degrees, moved by ({check.shift[0]:+.1f}, {check.shift[1]:+.1f}) pixels of a 112 crop; align the photos "
            "again, or use models trained on such crops only"
        )
    elif check.verdict == "not known":
        yield (
            f"a face is seen in {check.seen} of {counted(check.sampled, 'sampled image', 'sampled images')}, too few "
            "to say whether they are aligned; look at some, or try another --detector"
        )
    if check.verdict != "not known" and check.unseen_share > _MANY_UNSEEN:
        yield (
            f"no face is seen in {100 * check.unseen_share:.0f} % of the sampled images; look at some, or try another "
            "--detector"
        )
