"""The proof of refinement: what reached the network, image by image, in every epoch.

Figure R5: samples after the switch that are augmented, and pairs of epochs that draw alike.
"""

import shutil
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from classification.refinement import AUGMENTED_WEIGHTS, Phases
from refaug_det.runs import history, randomness

T1 = 2  # augmented epochs of a run of `observe`, then two of refinement
AUGMENTED, REFINED = (0, 1), (2, 3)
WORKERS = [(0, False), (2, False), (2, True)]


@pytest.fixture(scope='module')
def files(dark_images):
    """Pixels of every file and of its mirror image -> label."""
    known = {}
    for path in dark_images.rglob('*.png'):
        pixels = np.array(Image.open(path)).transpose(2, 0, 1)
        for image in (pixels, pixels[..., ::-1]):
            known[image.tobytes()] = 'abc'.index(path.parent.name)
    return known


def clean(batch, files):
    """Per image: whether it and its target are those of a file, up to a flip."""
    def is_clean(image, target):
        label = files.get(image.to(torch.uint8).numpy().tobytes())
        return (label is not None and torch.equal(image, image.round())
                and torch.equal(target, torch.eye(3)[label]))

    return [is_clean(*pair) for pair in zip(batch.inputs, batch.targets, strict=True)]


def assert_switched(recorder, files, refined=REFINED):
    """The whole claim: before the switch every image is augmented and batches are mixed,
    after it images and targets are those of the files."""
    mixed = []
    for batch in recorder.seen:
        if batch.epoch in refined:
            assert all(clean(batch, files))
            assert not batch.flags.any()
        else:
            assert not any(clean(batch, files))
            assert batch.flags.all()
            assert all(image.tobytes() not in files for image in batch.raw.numpy())
            mixed.append(not torch.equal(batch.inputs, batch.raw.float()))
    assert not mixed or sum(mixed) > len(mixed) / 2  # a permutation may be the identity


def counted(tally, recorder, files, refined=REFINED):
    """Count the samples after the switch, then claim the whole."""
    proofs = [good and not flag for batch in recorder.of(*refined)
              for good, flag in zip(clean(batch, files), batch.flags, strict=True)]
    tally(proofs.count(False), len(proofs))
    assert_switched(recorder, files, refined)


def stream(recorder, *epochs):
    return [(batch.inputs, batch.targets, batch.raw) for batch in recorder.of(*epochs)]


def same(a, b):
    return len(a) == len(b) > 0 and all(
        torch.equal(x, y) for xs, ys in zip(a, b, strict=True) for x, y in zip(xs, ys, strict=True))


def weights_of(runner):
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


def equal_weights(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[key].cpu(), b[key].cpu()) for key in a)


@pytest.fixture
def straight(observe):
    return observe('straight', interval_iters=1)


def resumed_from(observe, tmp_path, iteration, **options):
    """The straight run, gone on with from the checkpoint of an iteration alone."""
    source, target = tmp_path / 'straight', tmp_path / f'resumed{iteration}'
    target.mkdir()
    for name in (f'iter_{iteration}.pth', history.FILE_NAME):
        shutil.copy(source / name, target)
    return observe(target.name, resume=True, **options)


def test_phases_are_a_function_of_the_epoch():
    phases = Phases(start=3)
    assert [phases.of(epoch) for epoch in range(5)] == 3 * ['augmented'] + 2 * ['refinement']
    assert [phases.strength(epoch) for epoch in range(5)] == [1, 1, 1, 0, 0]


@pytest.mark.figure('R5')
def test_switch_reaches_every_worker(observe, files, full, tally):
    runs, epochs = {}, range(12 if full else 4)
    for workers, persistent in WORKERS:
        runner, recorder = observe(f'{workers}{persistent}', workers=workers, persistent=persistent,
                                   epochs=len(epochs), refine=len(epochs) - T1)
        assert [batch.epoch for batch in recorder.seen] == [e for e in epochs for _ in range(3)]
        counted(tally, recorder, files, epochs[T1:])
        runs[workers, persistent] = (stream(recorder, *epochs), weights_of(runner))
    first = runs.pop(WORKERS[0])
    for other in runs.values():
        assert same(other[0], first[0])
        assert equal_weights(other[1], first[1])


@pytest.mark.figure('R5')
@pytest.mark.parametrize('persistent', [False, True])
def test_without_the_hook_the_last_epochs_are_augmented(observe, files, persistent):
    _, recorder = observe(refine=None, workers=2 * persistent, persistent=persistent)
    assert_switched(recorder, files, refined=())
    with pytest.raises(AssertionError):
        assert_switched(recorder, files)


@pytest.mark.figure('R5')
@pytest.mark.parametrize('kind', ['repeat', 'concat', 'nested'])
@pytest.mark.parametrize(('workers', 'persistent'), [WORKERS[0], WORKERS[2]])
def test_switch_reaches_wrapped_data_sets(observe, files, kind, workers, persistent, full, tally):
    repeat = dict(type='RepeatDataset', times=2, dataset=observe.folder())
    dataset = {
        'repeat': repeat,
        'concat': dict(type='ConcatDataset', datasets=[observe.folder(), observe.folder('more')]),
        'nested': dict(type='ConcatDataset', datasets=[repeat, observe.folder('more')])}[kind]
    refined = range(2, 7 if full else 3)
    _, recorder = observe(dataset=dataset, epochs=refined.stop, refine=len(refined),
                          workers=workers, persistent=persistent)
    assert len(recorder.seen) == refined.stop * (9 if kind == 'nested' else 6)
    counted(tally, recorder, files, refined)


def test_repeated_images_are_drawn_anew(observe):
    dataset = dict(type='RepeatDataset', times=2, dataset=observe.folder())
    _, recorder = observe(dataset=dataset, epochs=1, refine=0)
    images = {image.tobytes() for batch in recorder.seen for image in batch.raw.numpy()}
    assert len(images) == 24


def images_of(recorder, epoch):
    """Images of an epoch as the workers gave them, whatever their order."""
    return sorted(image.tobytes() for batch in recorder.of(epoch) for image in batch.raw.numpy())


@pytest.mark.figure('R5')
def test_two_epochs_draw_differently(observe, monkeypatch, full, tally):
    epochs = range(10 if full else 2)
    _, recorder = observe(epochs=len(epochs), refine=0)
    alike = [bool(set(images_of(recorder, a)) & set(images_of(recorder, b)))
             for a, b in combinations(epochs, 2)]
    tally(sum(alike), len(alike))
    assert not any(alike)

    keyed = randomness.seed_from  # negative control: randomness that forgets the epoch
    monkeypatch.setattr(randomness, 'seed_from', lambda seed, what, epoch, *rest:
                        keyed(seed, what, 0, *rest))
    _, forgetful = observe('forgetful', epochs=2, refine=0)
    assert images_of(forgetful, 0) == images_of(forgetful, 1)


# three iterations an epoch: inside and after the augmented phase, inside and before its end
@pytest.mark.figure('R5')
@pytest.mark.parametrize('iteration', [2, 3, 6, 8, 9])
def test_resumed_run_goes_on_as_if_nothing_had_been(observe, files, tmp_path, straight, iteration,
                                                    tally):
    runner, recorder = straight
    workers = 2 * (iteration % 2)
    again, rest = resumed_from(observe, tmp_path, iteration, workers=workers,
                               persistent=bool(workers))
    assert [batch.iteration for batch in rest.seen] == list(range(iteration, 12))
    counted(tally, rest, files)
    assert same(stream(rest, 0, 1, 2, 3), stream(recorder, 0, 1, 2, 3)[iteration:])
    assert [batch.rate for batch in rest.seen] == [b.rate for b in recorder.seen][iteration:]
    assert equal_weights(weights_of(again), weights_of(runner))
    if iteration < 6:
        assert (tmp_path / f'resumed{iteration}' / AUGMENTED_WEIGHTS).read_bytes() == (
            tmp_path / 'straight' / AUGMENTED_WEIGHTS).read_bytes()


def test_resume_without_keyed_randomness_is_noticed(observe, tmp_path, straight, monkeypatch):
    unkeyed = np.random.default_rng()
    monkeypatch.setattr(randomness, 'key', lambda *parts: int(unkeyed.integers(2**60)))
    runner, recorder = straight
    again, rest = resumed_from(observe, tmp_path, 9)
    assert not same(stream(rest, 3), stream(recorder, 3))
    assert not equal_weights(weights_of(again), weights_of(runner))


def test_weights_before_the_switch_are_those_of_a_run_that_stopped_there(observe, tmp_path,
                                                                         straight):
    kept = load_file(tmp_path / 'straight' / AUGMENTED_WEIGHTS)
    stopped, _ = observe('stopped', epochs=T1, refine=0)
    assert equal_weights(kept, stopped.model.network.state_dict())
    assert not equal_weights(kept, straight[0].model.network.state_dict())
    assert not (tmp_path / 'stopped' / AUGMENTED_WEIGHTS).exists()


@pytest.mark.parametrize(('lr', 'refined'), [(None, 0.01), (0.003, 0.003), (0.0, 0.0)])
def test_rate_of_refinement(observe, tmp_path, lr, refined):
    runner, recorder = observe(lr=lr)
    rates = {epoch: {round(b.rate, 9) for b in recorder.of(epoch)} for epoch in range(4)}
    assert rates == {0: {0.1}, 1: {0.01}, 2: {refined}, 3: {refined}}
    rows = history.read(tmp_path / 'run')
    assert [round(row['lr'], 9) for row in rows] == [0.1, 0.01, refined, refined]
    frozen = equal_weights({'w': runner.model.network.conv.weight},
                           {'w': load_file(tmp_path / 'run' / AUGMENTED_WEIGHTS)['conv.weight']})
    assert frozen == (lr == 0.0)  # the rate is not only set, it is used


def test_rate_of_refinement_stands_against_a_schedule_that_goes_on(observe):
    _, recorder = observe(lr=0.003, step=3)
    assert [b.rate for b in recorder.of(*REFINED)] == [0.003] * 6


def test_history_tells_the_phases(observe, tmp_path):
    observe()
    rows = history.read(tmp_path / 'run')
    assert [row['phase'] for row in rows] == ['augmented'] * 2 + ['refinement'] * 2
    assert [row['augmented_share'] for row in rows] == [1, 1, 0, 0]


def test_gradient_accumulation_goes_with_it(observe, files):
    _, recorder = observe(micro_batch=2)
    assert_switched(recorder, files)
    assert {len(batch.inputs) for batch in recorder.seen} == {4}
    assert len(recorder.seen) == 12
    whole = observe('whole')[1]
    assert same([(b.raw,) for b in recorder.seen], [(b.raw,) for b in whole.seen])


def test_refinement_from_the_first_epoch(observe, files, tmp_path):
    _, recorder = observe(epochs=1, refine=1)
    assert_switched(recorder, files, refined=(0,))
    assert not (tmp_path / 'run' / AUGMENTED_WEIGHTS).exists()
