"""What every HTML page of ours is made of."""
