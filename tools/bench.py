"""Stage 2 for a grid of backbones and seeds: `refaug-det bench`.

    python tools/bench.py --backbones a,b,c --protocol voc07 --seeds 5 --data-root data/VOCdevkit

The same command again goes on where it was cut off; --dry-run shows the runs.
"""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    from refaug_det.cli import main as refaug_det
    return refaug_det(['bench', *(sys.argv[1:] if argv is None else argv)])


if __name__ == '__main__':
    sys.exit(main())
