"""Stage 2: put a backbone into an unchanged mmdet detector and measure what it is worth."""
