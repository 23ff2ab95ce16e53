"""What a trained classifier is like: its risks, its features, the loss around its weights."""
