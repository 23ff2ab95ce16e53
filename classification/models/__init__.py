"""Classifier networks: images to logits, and what of them a detector can use."""
