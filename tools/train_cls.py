"""Stage 1: train a classifier, refine it, register its backbones.

    python tools/train_cls.py configs/cls/toy_mixup_refine.py --data-root data/toy_images
    tools/dist_train.sh configs/cls/r50_mixup_refine.py 8 --data-root data/imagenet
"""

from __future__ import annotations

import sys

from refaug_det.errors import exits_cleanly


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    from classification.train import run
    from refaug_det.runs import launch

    parser = launch.arguments(__doc__)
    parser.add_argument('--name', help='name of the backbone in the zoo (default: CONFIG); '
                        'a refined run registers NAME-augmented and NAME-refined')
    run(parser.parse_args(argv))
    return 0


if __name__ == '__main__':
    sys.exit(main())
