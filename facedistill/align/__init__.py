"""From face photos to aligned crops."""
