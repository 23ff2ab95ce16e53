"""`refaug-det doctor`: what is wrong with this installation and machine, and what to do."""
