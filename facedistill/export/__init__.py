"""From a checkpoint to a file that ships."""
