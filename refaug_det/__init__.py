"""refaug-det: does an augmentation's gain in classification transfer to detection?

What both stages share: launching and recording runs, the backbone zoo, the
comparison, and the command line. Importing it is quiet and loads no torch.

`compare(paths)` gives the comparison that `refaug-det compare` prints, `report(paths, output)`
writes the page of `refaug-det report`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refaug_det.comparison.compare import compare
    from refaug_det.reports.page import report

__version__ = '0.1.0'
__all__ = ['compare', 'report']

_OFFERED = {'compare': 'refaug_det.comparison.compare', 'report': 'refaug_det.reports.page'}


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    return getattr(import_module(_OFFERED[name]), name)
