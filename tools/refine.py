"""Refine a classifier that is trained already: a few epochs without intensive augmentation.

    python tools/refine.py configs/cls/r50_mixup_refine.py --checkpoint X.pth \\
        --name x-refined --epochs 20 --lr 1e-4 --data-root data/imagenet

X: a file of this project, torchvision or timm (keys as theirs), or torchvision://resnet50,
timm://resnet50 (these download). The config says data and network; its training schedule
is left aside. --batch-norm-only is the control arm: statistics anew, weights as they are.
"""

from __future__ import annotations

import sys

from refaug_det.errors import exits_cleanly


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    from refaug_det.runs import launch

    parser = launch.arguments(__doc__)
    add = parser.add_argument
    add('--checkpoint', required=True, help='weights to start from')
    add('--epochs', type=int, help='T2 (default: 20)')
    add('--lr', type=float, help='rate (default: that of the config\'s refinement, if any)')
    add('--schedule', choices=['constant', 'cosine'],
        help='of the rate (default: that of the config\'s refinement, else constant)')
    add('--batch-norm-only', action='store_true',
        help='re-estimate batch-norm statistics on clean images in one epoch; no weight changes')
    add('--name', required=True, help='name of the run, and of its backbone in the zoo')
    args = parser.parse_args(argv)

    from classification.refine import run
    run(args)
    return 0


if __name__ == '__main__':
    sys.exit(main())
