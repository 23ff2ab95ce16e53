"""Stage 2: fine-tune a detector from a registered backbone.

    python tools/train_det.py configs/det/faster_rcnn_r50_fpn_voc07.py --backbone NAME \\
        --data-root data/VOCdevkit

Your own data in VOC layout: add --classes auto.
"""

from __future__ import annotations

import sys

from refaug_det.errors import exits_cleanly


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    from refaug_det.runs import launch

    parser = launch.arguments(__doc__)
    parser.add_argument('--backbone', required=True, help='NAME from the zoo (refaug-det backbone '
                        'list), torchvision://resnet50, or random:NAME')
    args = parser.parse_args(argv)

    from detection.train import run
    run(args)
    return 0


if __name__ == '__main__':
    sys.exit(main())
