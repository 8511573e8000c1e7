"""What `inspect` says of a data set: figures, tables and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facedistill.inspection.alignment import AlignmentCheck
from facedistill.inspection.duplicates import DuplicateGroup, NearDuplicate
from facedistill.inspection.image_counts import ImageCounts
from facedistill.inspection.label_noise import LabelNoise
from facedistill.inspection.label_order import LabelOrder
from facedistill.inspection.overlap import Overlap
from facedistill.inspection.warnings import find_warnings


@dataclass(frozen=True)
class InspectReport:
    """The result of `inspect_dataset`; an image here is one that can be read.

    Attributes:
        data: what was inspected.
        images: how many there are, at least 1.
        identities: those with images.
        image_counts: images of each; None without identities.
        outside: images that lie in the folder itself and so belong to nobody.
        label_order: None where the order of the labels says nothing, as in a folder.
        common_size: the most common width and height in pixels.
        common_size_images: how many images have it.
        size_counts: how many different sizes there are.
        colours, formats: images of each kind that there is.
        is_folder: whether one folder was looked at as it lies; the following two are empty for anything else.
        other_files: files of other suffixes, by suffix.
        outside_links: symbolic links that lead out of the folder, which are not followed.
        pair_set: whether it is a set of pairs, in which an image may stand several times.
        unreadable: name and reason of each that is no whole image.
        duplicates: groups of equal pictures, those across identities first.
        near_duplicates: one picture under two identities in two versions, the surest first.
        unchecked_pairs: candidates for these that were too many to compare.
        alignment: what a detector sees; None where that was not asked for.
        made_by_align: size, template, detector and format from the folder's align-report.json, None without one.
        model: what judged the labels and the people, None where none was asked.
        label_noise: None without a model, or where there are too few identities to judge by.
        overlaps: what is shared with each benchmark.
    """

    data: str
    images: int
    identities: int
    image_counts: ImageCounts | None
    outside: int
    label_order: LabelOrder | None
    common_size: tuple[int, int]
    common_size_images: int
    size_counts: int
    colours: dict[str, int]
    formats: dict[str, int]
    is_folder: bool
    other_files: dict[str, int]
    outside_links: tuple[str, ...]
    pair_set: bool
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[DuplicateGroup, ...]
    near_duplicates: tuple[NearDuplicate, ...]
    unchecked_pairs: int
    alignment: AlignmentCheck | None
    made_by_align: dict[str, Any] | None
    model: str | None = None
    label_noise: LabelNoise | None = None
    overlaps: tuple[Overlap, ...] = ()

    @property
    def single_identities(self) -> int:
        """Identities with one image."""
        return 0 if self.image_counts is None else self.image_counts.singles

    @property
    def warnings(self) -> list[str]:
        """What is wrong, a line each with the next step; empty where nothing is."""
        return find_warnings(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with every file that was found."""
        return {
            "data": self.data,
            "images": self.images,
            "identities": self.identities,
            "images_per_identity": None if self.image_counts is None else self.image_counts.to_dict(),
            "single_identities": self.single_identities,
            "outside": self.outside,
            "label_order": None if self.label_order is None else self.label_order.to_dict(),
            "common_size": list(self.common_size),
            "common_size_images": self.common_size_images,
            "size_counts": self.size_counts,
            "colours": self.colours,
            "formats": self.formats,
            "other_files": self.other_files,
            "outside_links": list(self.outside_links),
            "unreadable": [{"name": name, "reason": reason} for name, reason in self.unreadable],
            "duplicates": [group.to_dict() for group in self.duplicates],
            "near_duplicates": [pair.to_dict() for pair in self.near_duplicates],
            "unchecked_pairs": self.unchecked_pairs,
            "alignment": None if self.alignment is None else self.alignment.to_dict(),
            "made_by_align": self.made_by_align,
            "model": self.model,
            "label_noise": None if self.label_noise is None else self.label_noise.to_dict(),
            "overlaps": [overlap.to_dict() for overlap in self.overlaps],
            "warnings": self.warnings,
        }
