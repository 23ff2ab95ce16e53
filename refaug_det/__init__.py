"""refaug-det: does an augmentation's gain in classification transfer to detection?

What both stages share: launching and recording runs, the backbone zoo, the
comparison, and the command line. Importing it is quiet and loads no torch.
"""

__version__ = '0.1.0'
