"""Backbones: images to embeddings, by registry name."""

from facedistill.models import iresnet, mobilefacenet, tinyfacenet
from facedistill.models.registry import BACKBONES, build_backbone, default_embedding_size

__all__ = ["BACKBONES", "build_backbone", "default_embedding_size", "iresnet", "mobilefacenet", "tinyfacenet"]
