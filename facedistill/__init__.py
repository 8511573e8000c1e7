"""Distil a large face-recognition model into a small one, and prove that it still recognises people."""

__version__ = "0.1.0"
