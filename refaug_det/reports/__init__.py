"""The page of a comparison: what is known, how well, where it comes from, what is missing."""
