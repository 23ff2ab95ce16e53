"""Data sets of either stage: where they come from, whether they are whole."""
