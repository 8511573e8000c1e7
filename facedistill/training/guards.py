"""What a record tells of a run that goes wrong: each fault with its step, its rate and what to do about it.

The thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Mean cosine of two random images' embeddings above which all of them are nearly one point. The backbones here end in a
# batch norm, so that a fresh one is near 0 from the first step on.
COLLAPSED = 0.95
# Mean distance between people below which a triplet loss sits at its margin, for the same reason.
COLLAPSED_DISTANCE = 0.01
# Triplets for each image below which that distance is one of a few odd pairs, such as a photo under two names. A run
# that has learned its images runs out of triplets, and one that collapses has nearly as many as it has pairs.
ENOUGH_TRIPLETS = 0.5
# A head has learned nothing where its accuracy is below so many times that at chance, and its loss above this share of
# that at chance.
ACCURACY_AT_CHANCE = 3.0
LOSS_AT_CHANCE = 0.98
# With an accuracy at chance below this, the accuracy alone says it: where the embeddings turn away from all centres
# alike, the loss of an angular margin falls far below chance, and nobody is told apart.
FEW_BY_CHANCE = 0.1
# A record of few images shows a low accuracy by bad luck: so many of them have to be hits at the lowest accuracy that
# counts, or at 1 % if that is more.
ENOUGH_HITS = 10
SMALL_ACCURACY = 0.01
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

    Starvation is told at its second record in a row: the first batches of a run are waited for wherever they are
    decoded, and a disk may be busy for a while.

    Args:
        tell: told of each fault.
        chance: loss and accuracy of a head that knows nothing, None where there is no head.
        patience_steps: before these are over, a loss at chance means nothing.
    """

    tell: Callable[[str], None]
    chance: Chance | None = None
    patience_steps: int = 0
    _found: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)

    def look(self, record: dict[str, Any], images: int) -> None:
        """Look at a record of so many images."""
        faults = find_faults(record, images=images, chance=self.chance, patience_steps=self.patience_steps)
        for name, message in faults.items():
            if name not in self._told and (name != "starvation" or name in self._found):
                self.tell(message)
                self._told.add(name)
        self._found = set(faults)
        self._told &= self._found


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
    collapsed = sign_of_collapse(record, images)
    if collapsed is not None:
        faults["collapse"] = (
            f"{where}the embeddings collapse onto one point ({collapsed}); "
            "try a lower --lr, a longer --warmup-epochs, or an --init that is trained further"
        )
    if chance is not None and record["step"] > patience_steps and knows_nothing(record, images, chance):
        faults["dead head"] = (
            f"{where}the head has learned nothing: {100 * record['train_accuracy']:.3g} % of the images are given "
            f"their own class and the loss is {record['loss']:.2f}, and by chance it is {100 * chance.accuracy:.3g} % "
            f"and {chance.loss:.2f}; check the labels with facedistill inspect, begin with a smaller --margin or "
            "--scale, or change --lr"
        )
    waiting = record.get("waiting_for_images", 0.0)
    if waiting > STARVING and images >= ENOUGH_IMAGES:
        faults["starvation"] = (
            f"{where}{100 * waiting:.0f} % of the time is spent waiting for images; try more --workers, "
            "crops of the model's size, or tar shards on a local disk (facedistill convert)"
        )
    return faults


def sign_of_collapse(record: dict[str, Any], images: int) -> str | None:
    """What shows that all embeddings are nearly the same, None where nothing does."""
    similarity = record.get("mean_similarity", 0.0)
    if similarity > COLLAPSED:
        return f"mean cosine of two images {similarity:.3f}"
    distance = record.get("negative_distance", 1.0)
    if distance < COLLAPSED_DISTANCE and record["triplets"] >= ENOUGH_TRIPLETS * images:
        return f"mean distance of a negative {distance:.4f}"
    return None


def knows_nothing(record: dict[str, Any], images: int, chance: Chance) -> bool:
    """Whether a head tells nobody apart."""
    accuracy = ACCURACY_AT_CHANCE * chance.accuracy
    if record["train_accuracy"] >= accuracy or images * max(accuracy, SMALL_ACCURACY) < ENOUGH_HITS:
        return False
    return chance.accuracy < FEW_BY_CHANCE or bool(record["loss"] > LOSS_AT_CHANCE * chance.loss)
