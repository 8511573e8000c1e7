"""The result of an alignment in numbers; the tables have the single photos."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facedistill.align.find import ATTEMPTS
from facedistill.align.journal import SUMMARY_NAME, TAKEN_BACK
from facedistill.align.review import Review
from facedistill.align.template import template
from facedistill.files import write_atomically


@dataclass(frozen=True)
class AlignReport:
    """The result of `align_folder`, over all its runs.

    Attributes:
        settings: what the crops are: source, size, format, detector, template, choice of face, limits.
        counts: by name: "photos aligned" and the other statuses, "attempt plain" and so on, "crops", "faces refused".
        ignored: other files in the folder of photos, by suffix.
        strangers: images in the output folder that are no crop of this alignment.
        seconds: wall time of this run.
        worked: photos of this run.
        added: photos that have come since the first run.
        review: what a resumed run found of the earlier one.
    """

    settings: dict[str, Any]
    counts: dict[str, int]
    ignored: dict[str, int]
    strangers: int
    seconds: float
    worked: int
    added: int = 0
    review: Review = field(default_factory=Review)

    @property
    def crops(self) -> int:
        """How many crops there are."""
        return self.counts.get("crops", 0)

    @property
    def statuses(self) -> dict[str, int]:
        """Photos by what became of them: aligned first, then what is missed, most first."""
        named = {name.removeprefix("photos "): count for name, count in self.counts.items() if name[:7] == "photos "}
        named.pop(TAKEN_BACK, None)
        return dict(sorted(named.items(), key=lambda item: (item[0] != "aligned", -item[1], item[0])))

    @property
    def photos(self) -> int:
        """How many photos there are."""
        return sum(self.statuses.values())

    @property
    def missed(self) -> int:
        """How many photos gave no crop."""
        return self.photos - self.statuses.get("aligned", 0)

    def summary(self) -> dict[str, Any]:
        """Settings and counts, JSON-ready: the same for the same photos, however many runs it took."""
        return {
            **self.settings,
            "template_points": template(self.settings["size"]).round(4).tolist(),
            "photos": self.photos,
            "crops": self.crops,
            "statuses": self.statuses,
            "attempts": {name: self.counts.get(f"attempt {name}", 0) for name in ATTEMPTS},
            "faces_not_chosen": self.counts.get("faces not chosen", 0),
            "faces_refused": self.counts.get("faces refused", 0),
            "ignored": self.ignored,
            "strangers": self.strangers,
        }

    def to_dict(self) -> dict[str, Any]:
        """The summary, and how this run went."""
        return {
            **self.summary(),
            "seconds": round(self.seconds, 2),
            "photos_per_second": round(self.worked / self.seconds, 2) if self.seconds > 0 else None,
            "photos_this_run": self.worked,
            "added": self.added,
            "remade": self.review.remade,
            "lost": self.review.lost,
            "gone": self.review.gone,
            "changed": self.review.changed,
            "retried": len(self.review.retry),
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Column names and rows for printing: photos by what became of them."""
        total = max(self.photos, 1)
        return ("status", "photos", "%"), [
            (name, str(count), f"{100 * count / total:.2f}") for name, count in self.statuses.items()
        ]

    def notes(self) -> list[str]:
        """What a user should know beyond the table, one line each."""
        kinds = sorted(self.ignored.items(), key=lambda item: (-item[1], item[0]))[:6]
        names = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in kinds)
        unread = "Files beside the photos that are no images that can be read here"
        counted = {
            "Photos that have come since the first run and were taken in": self.added,
            "Photos that could not be read before and were tried again": len(self.review.retry),
            "Photos that have changed since they were aligned (--overwrite aligns all anew)": self.review.changed,
            "Photos that are gone, while their crops are kept": self.review.gone,
            "Crops that were missing or damaged and have been made again": self.review.remade,
            "Crops in landmarks.csv that are missing, of photos that are gone or have changed": self.review.lost,
            "Photos without a crop (missed.csv says why)": self.missed,
            unread: sum(self.ignored.values()),
            "Images in the folder of crops that are no crop of these photos (remove them before training)": max(
                self.strangers, 0
            ),
        }
        return [
            f"{text}: {count}" + (f" ({names})" if text == unread else "") for text, count in counted.items() if count
        ]

    def advice(self) -> str:
        """What to try where no photo gave a crop, by what became of most of them."""
        most = max(self.statuses.items(), key=lambda item: item[1], default=("no face", 0))[0]
        if most == "no face" and self.settings["detector"]["name"] == "landmarks":
            return "The names in the file of landmarks have to be paths within the folder of photos"
        return {
            "no face": "Try --min-face 20, another --detector, or photos of higher resolution",
            "filtered": "The limits let no face through: loosen --min-face, --min-score, --max-yaw or --min-sharpness",
            "unreadable": "None of the files is a whole image; missed.csv says what is wrong with each",
        }.get(most, "missed.csv says why")

    def write(self, out: Path) -> None:
        """Write the summary into the folder of crops."""
        write_atomically(out / SUMMARY_NAME, (json.dumps(self.summary(), indent=2) + "\n").encode())
