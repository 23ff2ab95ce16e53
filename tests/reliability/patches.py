"""What a forked run of these tests is without, or is given: negative controls and faults.

Each function changes the process that calls it; one that returns a function has it called
after the run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def waits_after(iteration: int) -> None:
    """The last process does nothing more after this iteration's checkpoint: it can be killed."""
    from refaug_det.runs import checkpoints
    save = checkpoints.save

    def waiting(runner: Any, epoch: int, number: int, *rest: Any) -> None:
        save(runner, epoch, number, *rest)
        if number == iteration and int(os.environ.get('RANK', 0)) + 1 == runner.world_size:
            time.sleep(1000)

    checkpoints.save = waiting


def importable(folder: str) -> None:
    """Modules of a folder, as by PYTHONPATH."""
    sys.path.insert(0, folder)


def unkeyed() -> None:
    """Randomness that no key determines."""
    from refaug_det.runs import randomness
    randomness.key = lambda *parts: int.from_bytes(os.urandom(7), 'little')


def replayed() -> None:
    """A resumed run that takes the first batches of an epoch again."""
    from refaug_det.runs.randomness import ResumableBatches
    ResumableBatches.__iter__ = lambda self: iter(self.batches)


def without_average() -> None:
    """A resumed run whose moving average begins anew."""
    from refaug_det.runs.ema import RefAugEMAHook
    RefAugEMAHook.load_state_dict = lambda self, state: None


def seeded_by_worker() -> None:
    """Samples that go on with the generators of whichever process draws them."""
    from refaug_det.runs import randomness
    seed_from = randomness.seed_from
    randomness.seed_from = lambda seed, what, *rest: (
        None if what == 'sample' else seed_from(seed, what, *rest))


def threads_of_the_machine() -> None:
    """A resumed run on as many threads as it finds."""
    import torch
    torch.set_num_threads = lambda number: None


def without_own_buffers() -> None:
    """Checkpoints with the buffers of the first process alone."""
    from refaug_det.runs import checkpoints
    checkpoints.buffers_by_rank = lambda model: {}


def unchecked() -> None:
    """A run that does not look for numbers that are not finite."""
    from refaug_det.runs import checkpoints, finite
    finite.FiniteLossHook.before_train = lambda self, runner: None
    finite.refuse_not_finite = checkpoints.refuse_not_finite = lambda runner, iteration: None


def bad_loss(update: int, value: str, told: str) -> Callable[[], None]:
    """One part of the loss is times `value` in one update; `told` tells what changed after it."""
    import torch
    from mmengine.model import BaseModel
    parse, seen = BaseModel.parse_losses, dict(calls=0)

    def spoilt(model: Any, losses: dict) -> Any:
        seen['calls'] += 1
        if seen['calls'] == update:
            name = sorted(name for name in losses if 'loss' in name)[update % 2 - 1]
            part, bad = losses[name], float(value)
            losses = losses | {name: [one * bad for one in part] if isinstance(part, list)
                               else part * bad}
            seen.update(model=model, part=name,
                        before={k: v.clone() for k, v in model.state_dict().items()})
        return parse(model, losses)

    def finish() -> None:
        after = seen['model'].state_dict()
        changed = [k for k, v in seen['before'].items() if not torch.equal(v, after[k])]
        Path(told).write_text(json.dumps(dict(changed=changed, part=seen['part'])))

    BaseModel.parse_losses = spoilt
    return finish


def bad_gradient(update: int) -> None:
    """The gradients of one update are infinite, though its loss is finite."""
    from mmengine.optim import OptimWrapper
    step, calls = OptimWrapper.step, []

    def exploding(self: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == update:
            for group in self.param_groups:
                for weight in group['params']:
                    if weight.grad is not None:
                        weight.grad.fill_(float('inf'))
        step(self, **options)

    OptimWrapper.step = exploding


def file_limit(size: int, saves: int) -> None:
    """After so many checkpoints, no file can be longer than `size` bytes."""
    import resource

    from refaug_det.runs import checkpoints
    save, done = checkpoints.save, []

    def limited(*arguments: Any) -> None:
        if len(done) == saves:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        done.append(1)
        save(*arguments)

    checkpoints.save = limited


def written_in_place() -> None:
    """Files that are written where they stand, as `open` leaves them."""
    from contextlib import contextmanager

    from refaug_det.runs import files

    @contextmanager
    def writer(path: Any) -> Any:
        with open(path, 'wb') as file:
            yield file

    files.atomic_writer = writer
