"""Judging a model: pair verification and its figures."""
