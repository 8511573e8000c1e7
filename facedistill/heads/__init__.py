"""Margin heads: embeddings and labels to a loss, by registry name."""

from facedistill.heads import (
    adaface,
    arcface,
    combined,
    cosface,
    curricularface,
    magface,
    softmax,
    subcentre_arcface,
)
from facedistill.heads.make_head import make_head
from facedistill.heads.margin import HEADS, Margin
from facedistill.heads.margin_head import MarginHead
from facedistill.heads.partial_fc import PartialFC

__all__ = [
    "HEADS",
    "Margin",
    "MarginHead",
    "PartialFC",
    "adaface",
    "arcface",
    "combined",
    "cosface",
    "curricularface",
    "magface",
    "make_head",
    "softmax",
    "subcentre_arcface",
]
