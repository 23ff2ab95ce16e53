"""What passes from stage 1 to stage 2: weights with a card."""
