"""Backbones: images to embeddings."""
