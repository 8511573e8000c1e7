"""Pictures, a page and tables for papers of an evaluation."""
