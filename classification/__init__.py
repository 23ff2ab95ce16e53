"""Stage 1: train a classifier with intensive augmentation, then refine it without."""
