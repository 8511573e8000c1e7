"""Telling two models apart: tests, intervals of a difference, agreement, costs, and the pairs they disagree on."""
