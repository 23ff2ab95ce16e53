"""Compare backbones by what their detectors reached: `refaug-det compare`, from a checkout.

    python tools/compare.py work_dirs --baseline r50_standard --test -o tables
"""

from __future__ import annotations

import sys

from refaug_det import cli


def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 2 where the runs cannot be compared."""
    return cli.main(['compare', *(sys.argv[1:] if argv is None else argv)])


if __name__ == '__main__':
    sys.exit(main())
