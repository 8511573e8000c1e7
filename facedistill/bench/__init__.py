"""How long models take, and what they hold while they run."""
