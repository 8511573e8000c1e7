"""How many processors this process may use, which in a container or under a scheduler may be fewer than there are."""

from __future__ import annotations

import os


def available_processors() -> int:
    """At least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
