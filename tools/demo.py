"""The whole pipeline at toy size: data, classifiers, refinement, detectors, table, report.

    python tools/demo.py                    # everything, into demo/
    python tools/demo.py --data-only        # only the toy data sets, into data/

Runs that are already done are kept; an interrupted demo goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from refaug_det.errors import ArgumentParser, exits_cleanly

CLASSIFIERS = {'toy_standard': 1.0, 'toy_mixup_refine': 1.0}
BACKBONES = ('toy_standard', 'toy_mixup_refine-augmented', 'toy_mixup_refine-refined')
SEEDS = (0, 1)


def make_data(root: Path) -> None:
    from classification.toy import write_image_folder
    from detection.toy import write_voc

    print(f'generating the toy world in {root}', flush=True)
    write_image_folder(root / 'toy_images', train_per_class=300, val_per_class=60)
    write_voc(root / 'toy_voc', trainval=240, test=120)


def jobs(out: Path, root: Path) -> tuple[list, list]:
    """Stage 1 and stage 2 jobs that are not done yet."""
    from refaug_det.runs import records
    from refaug_det.runs.jobs import Job, python

    def job(name: str, seed: int, *command: object, weight: float = 1.0) -> Job | None:
        work_dir = out / 'runs' / f'{name}-seed{seed}'
        begun = (work_dir / records.FILE_NAME).is_file()
        if begun and records.read(work_dir).status == 'done':
            return None
        options = ('--work-dir', work_dir, '--seed', seed, *(['--resume'] if begun else []))
        return Job(f'{name} seed {seed}', python(*command, *options),
                   out / 'logs' / f'{name}-seed{seed}.log', weight)

    tools = Path(__file__).parent
    configs = tools.parent / 'configs'
    stage1 = [job(name, 0, tools / 'train_cls.py', configs / 'cls' / f'{name}.py',
                  '--data-root', root / 'toy_images', weight=weight)
              for name, weight in CLASSIFIERS.items()]
    arms = [(name, seed) for name in BACKBONES for seed in SEEDS]
    stage2 = [job(f'detector-{name.replace(":", "-")}', seed, tools / 'train_det.py',
                  configs / 'det' / 'toy_faster_rcnn.py', '--backbone', name, '--classes', 'auto',
                  '--data-root', root / 'toy_voc')
              for name, seed in [*arms, ('random:toy_standard', 0)]]
    return [j for j in stage1 if j], [j for j in stage2 if j]


@exits_cleanly
def main(argv: list[str] | None = None) -> int:
    parser = ArgumentParser(description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('demo'), help='default: demo')
    parser.add_argument('--data-only', action='store_true', help='write the data into data/')
    args = parser.parse_args(argv)
    root = Path('data') if args.data_only else args.out / 'data'
    make_data(root)
    if args.data_only:
        return 0

    from refaug_det import report
    from refaug_det.comparison.commands import compare_runs
    from refaug_det.runs.jobs import Eta, run_jobs
    environment = dict(os.environ, REFAUG_DET_ZOO=str((args.out / 'zoo').resolve()),
                       OMP_NUM_THREADS='1', PYTHONUNBUFFERED='1')
    stage1, stage2 = jobs(args.out, root)
    eta = Eta(sum(job.weight for job in [*stage1, *stage2]))
    for stage in (stage1, stage2):
        run_jobs(stage, parallel=min(2, os.cpu_count() or 1), environment=environment, eta=eta)
    compare_runs([args.out / 'runs'], baseline='toy_standard', output=args.out)
    page = report([args.out / 'runs'], args.out / 'report.html', baseline='toy_standard')
    print(f'wrote {page}: all of it as a page')
    return 0


if __name__ == '__main__':
    sys.exit(main())
