"""Every head written out for one image and one class at a time, in Python's floats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

SCALES = {"softmax": 1.0}


@dataclass
class Statistics:
    """Running statistics as they are after the batch; what a fresh head starts from."""

    norm_mean: float = 20.0
    norm_std: float = 100.0
    t: float = 0.0


def length(vector: list[float]) -> float:
    return math.sqrt(sum(value * value for value in vector))


def similarity(name: str, embedding: list[float], centres: list[list[float]], label: int) -> float:
    """Cosine with the nearest of the class's centres, or inner product."""
    copies = 3 if name == "subcentre-arcface" else 1
    found = []
    for centre in centres[label * copies : (label + 1) * copies]:
        dot = sum(a * b for a, b in zip(embedding, centre, strict=True))
        found.append(dot if name == "softmax" else dot / (length(embedding) * length(centre)))
    return max(found)


def updated(name: str, embeddings: torch.Tensor, labels: torch.Tensor, centres: torch.Tensor) -> Statistics:
    """The statistics after one batch."""
    norms = [min(max(length(embedding), 0.001), 100.0) for embedding in embeddings.tolist()]
    mean = sum(norms) / len(norms)
    std = math.sqrt(sum((norm - mean) ** 2 for norm in norms) / (len(norms) - 1))
    pairs = zip(embeddings.tolist(), labels.tolist(), strict=True)
    cosines = [similarity(name, embedding, centres.tolist(), label) for embedding, label in pairs]
    return Statistics(0.99 * 20 + 0.01 * mean, 0.99 * 100 + 0.01 * std, 0.01 * sum(cosines) / len(cosines))


def target(name: str, cosine: float, norm: float, statistics: Statistics) -> float:
    theta = math.acos(cosine) if name != "softmax" else 0.0
    if name in ("arcface", "subcentre-arcface", "curricularface"):
        return math.cos(theta + 0.5)
    if name == "cosface":
        return cosine - 0.35
    if name == "combined":
        return math.cos(theta + 0.3) - 0.2
    if name == "adaface":
        z = 0.333 * (min(max(norm, 0.001), 100.0) - statistics.norm_mean) / (statistics.norm_std + 0.001)
        z = min(max(z, -1.0), 1.0)
        return math.cos(min(max(theta - 0.4 * z, 0.001), math.pi - 0.001)) - (0.4 * z + 0.4)
    if name == "magface":
        return math.cos(theta + 0.45 + (0.8 - 0.45) / (110 - 10) * (min(max(norm, 10.0), 110.0) - 10))
    assert name == "softmax"
    return cosine


def logits(
    name: str, embeddings: torch.Tensor, labels: torch.Tensor, centres: torch.Tensor, statistics: Statistics
) -> torch.Tensor:
    """(N, C) float64."""
    rows = []
    classes = len(centres) // (3 if name == "subcentre-arcface" else 1)
    for embedding, label in zip(embeddings.tolist(), labels.tolist(), strict=True):
        own = target(name, similarity(name, embedding, centres.tolist(), label), length(embedding), statistics)
        row = []
        for number in range(classes):
            value = similarity(name, embedding, centres.tolist(), number)
            if name == "curricularface" and value > own:
                value *= statistics.t + value
            row.append(SCALES.get(name, 64.0) * (own if number == label else value))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def loss(
    name: str, embeddings: torch.Tensor, labels: torch.Tensor, centres: torch.Tensor, statistics: Statistics
) -> float:
    """The mean cross-entropy, and MagFace's regulariser."""
    total = 0.0
    rows = logits(name, embeddings, labels, centres, statistics).tolist()
    for embedding, row, label in zip(embeddings.tolist(), rows, labels.tolist(), strict=True):
        largest = max(row)
        total += math.log(sum(math.exp(value - largest) for value in row)) + largest - row[label]
        if name == "magface":
            norm = min(max(length(embedding), 10.0), 110.0)
            total += 35 * (1 / norm + norm / 110**2)
    return total / len(embeddings)
