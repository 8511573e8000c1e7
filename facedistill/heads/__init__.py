"""Margin heads: embeddings and labels to logits, by registry name."""

from facedistill.heads import arcface, cosface
from facedistill.heads.margin_head import HEADS, MarginHead

__all__ = ["HEADS", "MarginHead", "arcface", "cosface"]
