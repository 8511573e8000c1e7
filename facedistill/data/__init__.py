"""Face datasets: one protocol, several sources."""
