"""A number that is not finite, anywhere in a run of either stage: nothing is made of it.

Figure R12. A loss that is NaN or infinite makes no update; where the loss is finite and a
weight becomes infinite all the same, no checkpoint is written of it.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from refaug_det.runs import records

LAST = {'train_cls': 12, 'train_det': 6}  # updates of a run
KEEP = ['default_hooks.checkpoint.keep=99']


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    """Weights after each update of a stage's run that nothing stops."""
    found = {}

    def of(stage):
        if stage.tool not in found:
            place = tmp_path_factory.mktemp(stage.tool)
            assert stage.run(place, options=KEEP).codes == (0,)
            found[stage.tool] = weights_of(place)
        return found[stage.tool]

    return of


def weights_of(place: Path) -> dict[int, dict]:
    return {int(path.stem[5:]): torch.load(path, weights_only=True)['state_dict']
            for path in (place / 'run').glob('iter_*.pth')}


def kept(place: Path) -> list[dict]:
    """All weights that a run has written."""
    return [*weights_of(place).values(), *map(load_file, (place / 'run').glob('*.safetensors'))]


def finite(state: dict) -> bool:
    return all(bool(value.isfinite().all()) for value in state.values())


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def faults_of_loss(stage, place, update, value, straight, *patches) -> list[str]:
    """What a run does wrong in whose `update` the loss is times `value`."""
    told = place / 'told.json'
    ended = stage.run(place, options=KEEP, patches=[*patches, ['bad_loss', update, value,
                                                              str(told)]])
    what = json.loads(told.read_text())
    found = weights_of(place)
    lines = ended.text.splitlines()
    said = next((n for n, line in enumerate(lines) if line.startswith(
        f'error: the loss is not finite in iteration {update} (epoch ')), None)
    right = {
        'exit code': ended.codes == (2,), 'update': not what['changed'],
        'finite': all(map(finite, kept(place))),
        'kept': found.keys() == set(range(1, update)) and all(
            equal(found[number], straight[number]) for number in found),
        'iteration': said is not None,
        'part': said is not None and re.search(rf'{what["part"]} (nan|-?inf)', lines[said]),
        'images': said is not None and lines[said + 1].startswith('  where: images '),
        'record': records.read(place / 'run').status == 'failed'}
    return [name for name, good in right.items() if not good]


def faults_of_gradient(stage, place, update, straight, *patches) -> list[str]:
    """What a run does wrong whose gradients are infinite in `update`, of a finite loss."""
    ended = stage.run(place, options=KEEP, patches=[*patches, ['bad_gradient', update]])
    found = weights_of(place)
    right = {
        'exit code': ended.codes == (2,), 'finite': all(map(finite, kept(place))),
        'kept': found.keys() == set(range(1, update)) and all(
            equal(found[number], straight[number]) for number in found),
        'said': f'is not finite after iteration {update}' in ended.text}
    return [name for name, good in right.items() if not good]


@pytest.mark.figure('R12')
@pytest.mark.parametrize('name', ['stage1', 'stage2'])
@pytest.mark.slow
def test_no_update_is_made_of_a_bad_loss(request, straight, tmp_path, name, full, tally):
    stage, draw = request.getfixturevalue(name), random.Random(name)
    faults = {}
    cases = 20 if full else 2
    for case in range(cases):
        update = draw.randint(2, LAST[stage.tool]) if case else LAST[stage.tool]
        value = ('nan', 'inf', '-inf')[case % 3]
        faults[case, update, value] = faults_of_loss(
            stage, tmp_path / str(case), update, value, straight(stage))
    wrong = {case: found for case, found in faults.items() if found}
    tally(len(wrong), cases)
    assert not wrong


@pytest.mark.figure('R12')
@pytest.mark.parametrize('name', ['stage1', 'stage2'])
@pytest.mark.slow
def test_no_weight_that_became_infinite_is_kept(request, straight, tmp_path, name, full, tally):
    stage, draw = request.getfixturevalue(name), random.Random(name)
    faults, last = {}, LAST[stage.tool]
    updates = [draw.randint(2, last) for _ in range(10)] if full else [last if name == 'stage2'
                                                                       else 8]  # the switch's
    for case, update in enumerate(updates):
        faults[case, update] = faults_of_gradient(
            stage, tmp_path / str(case), update, straight(stage))
    wrong = {case: found for case, found in faults.items() if found}
    tally(len(wrong), len(updates))
    assert not wrong


@pytest.mark.figure('R12')
@pytest.mark.slow
def test_a_run_that_does_not_look_keeps_bad_weights(stage1, straight, tmp_path):
    loss = faults_of_loss(stage1, tmp_path / 'loss', 5, 'nan', straight(stage1), ['unchecked'])
    assert {'update', 'finite', 'kept', 'iteration', 'images'} <= set(loss)
    gradient = faults_of_gradient(stage1, tmp_path / 'gradient', 5, straight(stage1), ['unchecked'])
    assert {'finite', 'kept', 'said'} <= set(gradient)
