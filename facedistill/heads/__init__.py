"""Margin heads: embeddings and labels to logits."""
