"""Tiny runs of both stages through their command lines, and all that they leave, as digests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from refaug_det.runs import checkpoints, history, records

ROOT = Path(__file__).parents[2]
UPDATES = 12  # of the run of stage 1

# all that draws, fades, switches or has a state, in 6 epochs of 2 updates
EVERYTHING = f'''
_base_ = ['{ROOT}/configs/cls/_base_/runtime.py', '{ROOT}/configs/cls/_base_/toy.py']
train_dataloader = dict(batch_size=16, num_workers=0, dataset=dict(pipeline=[
    dict(type='RefAugTransform', name='RandomCrop', size=32, padding=4),
    dict(type='RefAugTransform', name='RandomHorizontalFlip'),
    dict(type='RefAugAutoAugment'),
    dict(type='RefAugCutout', size=8),
    dict(type='RefAugAugmentation', name='ColorJitter', contrast=0.5)]))
val_dataloader = dict(num_workers=0)
model = dict(
    network=dict(width=8), label_smoothing=0.1,
    batch_augments=[dict(type='RefAugMixup', alpha=1.0, per_sample=True),
                    dict(type='RefAugCutMix', probability=1.0),
                    dict(type='RefAugManifoldMixup', alpha=2.0)])
train_cfg = dict(max_epochs=6)
custom_hooks = [
    dict(type='RefAugRefinementHook', epochs=2, lr=0.01, schedule='cosine', weaken=2,
         optimizer_state='reset'),
    dict(type='RefAugEMAHook', momentum=0.1)]
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=4, by_epoch=True, milestones=[2], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=16)
'''

CLASSIFIER = ['default_hooks.checkpoint.interval_iters=1']

# a Faster R-CNN of 2 epochs of 3 updates; the fixtures of tests/detection have the same sizes
DETECTOR = [
    'model.neck.out_channels=16', 'model.rpn_head.in_channels=16',
    'model.rpn_head.feat_channels=16', 'model.roi_head.bbox_roi_extractor.out_channels=16',
    'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=32',
    'train_dataloader.dataset.pipeline.2.scale=(96,96)',
    'test_dataloader.dataset.pipeline.1.scale=(96,96)', 'train_dataloader.num_workers=0',
    'test_dataloader.num_workers=0', 'train_dataloader.batch_size=4',
    'auto_scale_lr.base_batch_size=4', 'train_cfg.max_epochs=2', *CLASSIFIER]


@dataclass
class Stage:
    """The tiny run of a stage; `place` below is the folder of one such run.

    Attributes:
        server: of `fork_server.py`.
        tool: name of the stage's script.
        words: its command line, but for the run directory and the options of a config.
        options: of the config.
        places: folder for the runs that are never interrupted.
        env: environment of all runs; a run of stage 1 has a zoo of its own.
    """

    server: Any
    tool: str
    words: Sequence[str]
    options: Sequence[str]
    places: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._whole: dict[tuple, tuple[dict[str, str], float]] = {}

    def run(self, place: Path, *words: object, options: Sequence[str] = (), **how: Any) -> Any:
        """Run it, or go on; see `ForkServer.run` for what may happen to it."""
        place.mkdir(parents=True, exist_ok=True)
        env = {'REFAUG_DET_ZOO': str(place / 'zoo')} | self.env | how.pop('env', {})
        return self.server.run(
            self.tool, [*self.words, '--work-dir', place / 'run', *words, '--cfg-options',
                        *self.options, *options], place / 'log', env=env, **how)

    def whole(self, *words: object, **how: Any) -> tuple[dict[str, str], float]:
        """What the run leaves that nothing interrupts, and how long it takes; made once."""
        key = (*words, *how.items())
        if key not in self._whole:
            place = self.places / str(len(self._whole))
            ended = self.run(place, *words, **how)
            assert ended.codes == (0,), ended.text
            self._whole[key] = (outcome(place), ended.seconds)
        return self._whole[key]


def outcome(place: Path) -> dict[str, str]:
    """Digests of all that the finished run in `place` leaves; equal where all of it is."""
    run = place / 'run'
    assert records.read(run).status == 'done'
    _, state = checkpoints.newest_valid(run)
    found = {name: digest(state[name]) for name in
             ('state_dict', 'optimizer', 'param_schedulers', 'hooks', 'epoch', 'iteration')}
    kept = [run / history.FILE_NAME, *run.glob('*.safetensors'), *place.glob('zoo/*/*.safetensors')]
    return found | {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in sorted(kept)}


def digest(value: Any) -> str:
    """Of nested plain values and tensors, bit by bit."""
    if isinstance(value, torch.Tensor):
        text = f'{value.dtype} {tuple(value.shape)}'.encode() + value.contiguous().numpy().tobytes()
    elif isinstance(value, dict):
        text = repr([(str(k), digest(v)) for k, v in sorted(value.items(), key=str)]).encode()
    elif isinstance(value, (list, tuple)):
        text = repr([digest(one) for one in value]).encode()
    else:
        text = repr(value).encode()
    return hashlib.sha256(text).hexdigest()


def outlive(start: Callable[[float, int | None], Any], longest: float, draw: random.Random,
            numbers: Sequence[int], most: int) -> tuple[list[Any], Any]:
    """Strike a run at random moments, and start it again, until it ends by itself.

    Args:
        start: `start(after, number)` starts or resumes it and sends the signal, if any.
        longest: seconds within which the first moment is drawn, uniformly; a tenth more
            for each that follows, so that a machine that slows down gets to the end too.
        draw: draws them.
        numbers: signals, of which one is drawn each time.
        most: how many strikes there may be.

    Returns:
        How the runs ended that were struck, and the one that was not.
    """
    struck = []
    while True:
        number = draw.choice(numbers) if len(struck) < most else None
        ended = start(draw.uniform(0, longest), number)
        if not ended.struck:
            return struck, ended
        struck.append(ended)
        longest *= 1.1
