"""Backbones: images to embeddings, by registry name."""

from facedistill.models import (
    adaface_ir,
    ghostfacenet,
    iresnet,
    mbf,
    mobilefacenet,
    mobilenetv3,
    timm_adapter,
    tinyfacenet,
    vit,
)
from facedistill.models.registry import BACKBONES, build_backbone, default_embedding_size

__all__ = [
    "BACKBONES",
    "adaface_ir",
    "build_backbone",
    "default_embedding_size",
    "ghostfacenet",
    "iresnet",
    "mbf",
    "mobilefacenet",
    "mobilenetv3",
    "timm_adapter",
    "tinyfacenet",
    "vit",
]
