"""Classifier networks: images to logits, and what of them a detector can use.

Each maps (B, 3, H, W) to logits, and has `features(images)`, the input of its
last layer `head`, and `mix_points`, submodules after which hidden states may
be mixed. One that a detector can use as a backbone has `backbone_state()` too.
"""
