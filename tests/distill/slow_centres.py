"""The methods with class centres written out for one image and one class at a time, in Python's floats."""

from __future__ import annotations

import math

Vector = list[float]


def unit(vector: Vector) -> Vector:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector


def cosine(first: Vector, second: Vector) -> float:
    return sum(a * b for a, b in zip(unit(first), unit(second), strict=True))


def clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def logits(embedding: Vector, label: int, centres: list[Vector], margin: float, form: str, scale: float) -> Vector:
    row = []
    for number, centre in enumerate(centres):
        value = cosine(embedding, centre)
        if number == label:
            value = math.cos(math.acos(value) + margin) if form == "arcface" else value - margin
        row.append(scale * value)
    return row


def log_softmax(row: Vector) -> Vector:
    largest = max(row)
    total = math.log(sum(math.exp(value - largest) for value in row)) + largest
    return [value - total for value in row]


def cross_entropy(rows: list[Vector], labels: list[int]) -> float:
    return -sum(log_softmax(row)[label] for row, label in zip(rows, labels, strict=True)) / len(rows)


def divergence(teacher: Vector, student: Vector) -> float:
    """KL of the softmaxes of two rows of logits."""
    pairs = zip(log_softmax(teacher), log_softmax(student), strict=True)
    return sum(math.exp(theirs) * (theirs - ours) for theirs, ours in pairs)


def move_centres(
    centres: list[Vector], student: list[Vector], teacher: list[Vector], labels: list[int], *, hard: bool
) -> tuple[list[Vector], Vector]:
    """AdaDistill's centres after the batch, and each image's alpha; classes of zeros have not been met."""
    moved: dict[int, list[Vector]] = {}
    alphas = []
    for embedding, taught, label in zip(student, teacher, labels, strict=True):
        old, target = centres[label], unit(taught)
        alpha = clip(cosine(embedding, target))
        if hard:
            alpha *= clip(cosine(old, target))
        if not any(old):
            alpha = 0.0
        alphas.append(alpha)
        moved.setdefault(label, []).append([alpha * a + (1 - alpha) * b for a, b in zip(old, target, strict=True)])
    after = list(centres)
    for label, vectors in moved.items():
        after[label] = [sum(values) / len(vectors) for values in zip(*vectors, strict=True)]
    return after, alphas


def group_size(rows: list[Vector], tau: float, step: int) -> int:
    probabilities = [[math.exp(value) for value in log_softmax(row)] for row in rows]
    mean = sorted((sum(column) / len(rows) for column in zip(*probabilities, strict=True)), reverse=True)
    size = 1
    while size < len(mean) and sum(mean[:size]) < tau:
        size += step
    return min(size, len(mean))


def grouped(student: Vector, teacher: Vector, label: int, size: int, temperature: float) -> tuple[float, float]:
    """GKD's primary and binary divergence of one image, before T^2."""
    order = sorted(range(len(student)), key=lambda number: -student[number])
    group = [label, *(number for number in order if number != label)][:size]
    ours, theirs = [value / temperature for value in student], [value / temperature for value in teacher]
    primary = divergence([theirs[number] for number in group], [ours[number] for number in group])
    binary = 0.0
    for members in (group, [number for number in range(len(student)) if number not in group]):
        if members:
            p = sum(math.exp(log_softmax(theirs)[number]) for number in members)
            q = sum(math.exp(log_softmax(ours)[number]) for number in members)
            binary += p * math.log(p / q)
    return primary, binary
