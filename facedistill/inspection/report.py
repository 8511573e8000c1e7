"""What `inspect` says of a folder: figures, tables and warnings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from facedistill.inspection.alignment import AlignmentCheck
from facedistill.inspection.duplicates import DuplicateGroup, NearDuplicate
from facedistill.inspection.warnings import counted, find_warnings
from facedistill.shown_name import shown_name

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True)
class InspectReport:
    """The result of `inspect_folder`; an image here is one that can be read.

    Attributes:
        folder: what was inspected.
        images: how many there are, at least 1.
        identities: folders with images.
        images_per_identity: least, median and most; None without identities.
        single_identities: identities with one image.
        outside: images that lie in the folder itself and so belong to nobody.
        common_size: the most common width and height in pixels.
        common_size_images: how many images have it.
        size_counts: how many different sizes there are.
        colours, formats: images of each kind that there is.
        other_files: files of other suffixes, by suffix.
        outside_links: symbolic links that lead out of the folder, which are not followed.
        unreadable: name and reason of each file that is no whole image.
        duplicates: groups of equal pictures, those across identities first.
        near_duplicates: one picture under two identities in two versions, the surest first.
        unchecked_pairs: candidates for these that were too many to compare.
        alignment: what a detector sees; None where that was not asked for.
        made_by_align: size, template, detector and format from the folder's align-report.json, None without one.
    """

    folder: str
    images: int
    identities: int
    images_per_identity: tuple[int, float, int] | None
    single_identities: int
    outside: int
    common_size: tuple[int, int]
    common_size_images: int
    size_counts: int
    colours: dict[str, int]
    formats: dict[str, int]
    other_files: dict[str, int]
    outside_links: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[DuplicateGroup, ...]
    near_duplicates: tuple[NearDuplicate, ...]
    unchecked_pairs: int
    alignment: AlignmentCheck | None
    made_by_align: dict[str, Any] | None

    @property
    def warnings(self) -> list[str]:
        """What is wrong, a line each with the next step; empty where nothing is."""
        return find_warnings(self)

    def table(self) -> Table:
        """Column names and rows: what there is."""
        width, height = self.common_size
        across = [group for group in self.duplicates if group.identities > 1]
        rows: list[tuple[str, ...]] = [("images", str(self.images)), ("identities", str(self.identities))]
        if self.images_per_identity is not None:
            least, median, most = self.images_per_identity
            rows.append(("images per identity", f"{least} to {most}, median {median:g}"))
            rows.append(("identities with one image", str(self.single_identities)))
        if self.outside:
            rows.append(("images without an identity", str(self.outside)))
        most_common = counted(self.common_size_images, "image", "images")
        rows += [
            ("size", f"{width} x {height} ({most_common}), sizes in all: {self.size_counts}"),
            ("colour", _listed(self.colours)),
            ("formats", _listed(self.formats)),
            ("other files", _listed(self.other_files)),
            ("symbolic links out of the folder", str(len(self.outside_links))),
            ("no whole image", str(len(self.unreadable))),
            ("equal pictures across identities", str(len(across))),
            ("equal pictures within an identity", str(len(self.duplicates) - len(across))),
            ("near-duplicates across identities", str(len(self.near_duplicates))),
        ]
        return ("what", "found"), rows

    def alignment_table(self) -> Table | None:
        """Column names and rows of the alignment; None where it was not looked at."""
        check = self.alignment
        if check is None:
            return None
        rows: list[tuple[str, ...]] = [
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

    def findings_table(self, most: int = 10) -> Table:
        """Column names and rows: the first `most` files of each kind that want a look."""
        rows: list[tuple[str, ...]] = []
        rows += [("no whole image", shown_name(name), reason) for name, reason in self.unreadable[:most]]
        for group in self.duplicates[:most]:
            kind = "equal, across identities" if group.identities > 1 else "equal, one identity"
            first, *others = map(shown_name, group.names[:4])
            rows.append((kind, first, ", ".join(others) + (", ..." if group.names[4:] else "")))
        for pair in self.near_duplicates[:most]:
            rows.append(("near-duplicate", shown_name(pair.first), f"{shown_name(pair.second)} ({pair.score:.3f})"))
        return ("finding", "file", "other file or reason"), rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with every file that was found."""
        return {
            **asdict(self),
            "outside_links": list(self.outside_links),
            "unreadable": [{"name": name, "reason": reason} for name, reason in self.unreadable],
            "duplicates": [group.to_dict() for group in self.duplicates],
            "near_duplicates": [pair.to_dict() for pair in self.near_duplicates],
            "alignment": None if self.alignment is None else self.alignment.to_dict(),
            "warnings": self.warnings,
        }


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {shown_name(name)}" for name, count in counts.items()) or "0"
