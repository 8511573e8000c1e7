"""Weights that others have published, under the names of their own code, as backbones of ours."""

from facedistill.models.published.load import load_published

__all__ = ["load_published"]
