"""Losses that pass the teacher's similarity structure to the student, and the mining of triplets."""
