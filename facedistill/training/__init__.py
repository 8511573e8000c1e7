"""The training loop, its schedule, and the run folder it writes."""
