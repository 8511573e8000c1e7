"""What a record tells of a run that goes wrong: each fault with its step, its rate and what to do about it.

The thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Mean cosine of two random images' embeddings above which all of them are nearly one point.
COLLAPSED = 0.95
# Mean distance between people below which a triplet loss sits at its margin, for the same reason.
COLLAPSED_DISTANCE = 0.01
# A head has learned nothing where its loss is above this share of that at chance, and its accuracy below so many times
# that at chance.
LOSS_AT_CHANCE = 0.98
ACCURACY_AT_CHANCE = 3.0
# Share of the time spent waiting for images above which the device starves.
STARVING = 0.3
# Images that a record has to be about before its share of waiting means anything.
ENOUGH_IMAGES = 5000


class Chance(NamedTuple):
    """What a head reaches that knows nothing."""

    loss: float
    accuracy: float


@dataclass
class Guards:
    """Looks at each record, and tells of a fault once for as long as it lasts.

    Args:
        tell: told of each fault.
        chance: loss and accuracy of a head that knows nothing, None where there is no head.
        patience_steps: before these are over, a loss at chance means nothing.
    """

    tell: Callable[[str], None]
    chance: Chance | None = None
    patience_steps: int = 0
    _told: set[str] = field(default_factory=set)

    def look(self, record: dict[str, Any], images: int) -> None:
        """Look at a record of so many images."""
        faults = find_faults(record, images=images, chance=self.chance, patience_steps=self.patience_steps)
        for name, message in faults.items():
            if name not in self._told:
                self.tell(message)
        self._told = set(faults)


def find_faults(
    record: dict[str, Any], *, images: int, chance: Chance | None = None, patience_steps: int = 0
) -> dict[str, str]:
    """The faults that a record shows, by name: "collapse", "dead head" and "starvation".

    Args:
        record: as `metrics.jsonl` holds it.
        images: how many images it is about.
        chance: see `Guards`.
        patience_steps: see `Guards`.
    """
    where = f"step {record['step']} (learning rate {record['lr']:.3g}): "
    faults: dict[str, str] = {}
    similarity, distance = record.get("mean_similarity", 0.0), record.get("negative_distance", 1.0)
    if similarity > COLLAPSED or distance < COLLAPSED_DISTANCE:
        sign = (
            f"mean cosine of two images {similarity:.3f}"
            if similarity > COLLAPSED
            else f"mean distance of a negative {distance:.4f}"
        )
        faults["collapse"] = (
            f"{where}the embeddings collapse onto one point ({sign}); "
            "try a lower --lr, a longer --warmup-epochs, or an --init that is trained further"
        )
    if (
        chance is not None
        and record["step"] > patience_steps
        and record["loss"] > LOSS_AT_CHANCE * chance.loss
        and record["train_accuracy"] < ACCURACY_AT_CHANCE * chance.accuracy
    ):
        faults["dead head"] = (
            f"{where}the loss is {record['loss']:.2f}, and that of a head that knows nothing is {chance.loss:.2f}; "
            "check the labels with facedistill inspect, begin with a smaller --margin or --scale, or change --lr"
        )
    waiting = record.get("waiting_for_images", 0.0)
    if waiting > STARVING and images >= ENOUGH_IMAGES:
        faults["starvation"] = (
            f"{where}{100 * waiting:.0f} % of the time is spent waiting for images; try more --workers, "
            "crops of the model's size, or tar shards on a local disk (facedistill convert)"
        )
    return faults
