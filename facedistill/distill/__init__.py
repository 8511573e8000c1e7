"""Losses that pass the teacher's similarity structure to the student, by registry name, and the mining of triplets."""

from facedistill.distill import cosine, triplet
from facedistill.distill.method import METHODS, MethodOptions

__all__ = ["METHODS", "MethodOptions", "cosine", "triplet"]
