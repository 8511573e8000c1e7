"""Models as embedders, whatever file they come in."""
