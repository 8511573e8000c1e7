"""The model card: what a model is, where it comes from, what it reaches, and what it is not for."""
