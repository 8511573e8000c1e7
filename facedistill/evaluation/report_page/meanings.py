"""What each figure of an evaluation means, in one plain sentence."""

from __future__ import annotations

DASH = "A dash (-) stands where there are too few impostor pairs for a FAR: a single accepted one would be above it."

_PAIRS = {
    "genuine, impostor": "A genuine pair is two photos of one person, an impostor pair one photo each of two people.",
}
_BENCHMARKS = {
    "accuracy": "The share of pairs decided rightly, each fold with the threshold that is best on all other folds; "
    "the mean over the folds ± their standard deviation.",
    "equal error rate": "The rate of errors at the threshold where as large a share of impostor pairs is accepted as "
    "of genuine pairs is refused; lower is better.",
    "area under the ROC": "The chance that a genuine pair is more similar than an impostor pair; 1 is perfect, "
    "0.5 is guessing.",
}
_RATES = {
    "FAR": "False accept rate: the share of impostor pairs that are accepted as one person; 1e-3 is one in a thousand.",
    "TAR at FAR": "True accept rate: the share of genuine pairs that are accepted, in %, at the largest threshold "
    "that keeps to the FAR; higher is better.",
    "threshold": "A pair is accepted where its cosine is above the threshold, or its squared L2 distance below it: "
    "the distance is 2 less twice the cosine.",
}
_ALL_PAIRS = {
    "(… to …)": "In brackets behind a TAR: the 95 % interval, within which it would mostly stay with other people; "
    "people are drawn anew with replacement, so that many photos of one count as one person.",
    "each person alike": "The share of each person's own genuine pairs that are accepted, averaged over the people, "
    "so that one with very many photos does not decide.",
}


def meanings(*, benchmarks: bool, all_pairs: bool) -> list[tuple[str, str]]:
    """Names and sentences, as far as a report has such figures; plain text that needs no escaping."""
    chosen = _PAIRS | (_BENCHMARKS if benchmarks else {}) | _RATES | (_ALL_PAIRS if all_pairs else {})
    return list(chosen.items())
