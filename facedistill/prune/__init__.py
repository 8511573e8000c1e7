"""Structured pruning: take the channels that weigh least out of a backbone."""
