"""From one format of data sets to another."""
