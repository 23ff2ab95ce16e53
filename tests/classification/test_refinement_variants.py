"""The paper's other ways to refine: fading, no augmentation at all, cosine, a fresh optimiser."""

import shutil

import pytest
import torch
from PIL import Image

from classification.refinement import Phases, cosine
from refaug_det.errors import UserError
from refaug_det.runs import history

NOTHING = dict(pipeline=[])


def weights(runner):
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


def equal(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def resumed_from(observe, tmp_path, iteration, **options):
    """`run` gone on with from one of its checkpoints, as (runner, recorder)."""
    (tmp_path / 'again').mkdir()
    for name in (f'iter_{iteration}.pth', history.FILE_NAME):
        shutil.copy(tmp_path / 'run' / name, tmp_path / 'again')
    return observe('again', resume=True, **options)


def test_fading_is_a_ramp_to_the_switch():
    phases = Phases(start=5, weaken=3)
    assert [phases.strength(epoch) for epoch in range(7)] == [1, 1, 0.75, 0.5, 0.25, 0, 0]
    assert [phases.of(epoch) for epoch in (4, 5)] == ['augmented', 'refinement']
    assert [Phases(5).strength(epoch) for epoch in range(7)] == [1] * 5 + [0, 0]


def test_fading_reaches_images_and_batches(observe, tmp_path):
    strengths = []
    _, recorder = observe(epochs=8, refine=1, weaken=5, workers=2, persistent=True)
    shares = [row['augmented_share'] for row in history.read(tmp_path / 'run')]
    for epoch in range(8):
        flags = torch.cat([batch.flags for batch in recorder.of(epoch)])
        strengths.append(flags.float().mean().item())
    assert strengths[:2] == [1, 1]
    assert strengths[7] == 0
    assert 1 > sum(strengths[2:5]) / 3 > sum(strengths[5:7]) / 2 > 0
    assert shares[:2] == [1, 1]
    assert shares[7] == 0


@pytest.mark.parametrize('workers', [0, 2])
def test_without_any_augmentation_the_pixels_are_those_of_the_files(observe, dark_images, workers):
    _, recorder = observe(**NOTHING, workers=workers, persistent=workers > 0)
    _, standard = observe('standard')

    def mirrored(recorder):
        """How many images in refinement are not those of a file, as it lies there."""
        from PIL import Image
        from torchvision.transforms.functional import pil_to_tensor
        known = {pil_to_tensor(Image.open(path)).numpy().tobytes()
                 for path in dark_images.rglob('*.png')}
        return sum(image.numpy().tobytes() not in known
                   for batch in recorder.of(2, 3) for image in batch.raw)

    assert mirrored(recorder) == 0
    assert mirrored(standard) > 0  # the standard flip stays on there
    assert torch.cat([batch.flags for batch in recorder.of(0, 1)]).all()


def test_cosine_falls_from_the_rate_to_zero(observe, tmp_path):
    _, recorder = observe(lr=0.02, schedule='cosine', interval_iters=1)
    rates = [batch.rate for batch in recorder.of(2, 3)]
    assert rates == [cosine(0.02, step / 6) for step in range(6)]
    assert (rates[0], rates[3]) == pytest.approx((0.02, 0.01))
    assert 0 < rates[5] < 0.002
    again = resumed_from(observe, tmp_path, 8, lr=0.02, schedule='cosine')[1]
    assert [batch.rate for batch in again.seen] == rates[2:]


def test_the_optimiser_forgets_at_the_switch_and_only_there(observe, tmp_path):
    carried, _ = observe('carried')
    runner, _ = observe(optimizer_state='reset', interval_iters=1)
    assert not equal(weights(runner), weights(carried))
    again, _ = resumed_from(observe, tmp_path, 8, optimizer_state='reset')
    assert equal(weights(again), weights(runner))
    kept = torch.load(tmp_path / 'run' / 'iter_6.pth', weights_only=True)['optimizer']['state']
    assert all(v['momentum_buffer'].any() for v in kept.values())  # there was some to lose
    assert kept


def test_a_reset_at_every_resume_would_be_another_run(observe, tmp_path, monkeypatch):
    from classification import refinement
    runner, _ = observe(optimizer_state='reset', interval_iters=1)
    monkeypatch.setattr(refinement.RefAugRefinementHook, '_begin',
                        lambda hook, runner: runner.iter)
    again, _ = resumed_from(observe, tmp_path, 8, optimizer_state='reset')
    assert not equal(weights(again), weights(runner))


@pytest.mark.parametrize(('options', 'says'), [
    (dict(schedule='linear', lr=0.1), "schedule 'linear'"),
    (dict(schedule='cosine'), 'cosine without a rate'),
    (dict(optimizer_state='lost'), "optimizer_state 'lost'"),
    (dict(weaken=2), 'fades over 2 of 2'),
    (dict(weaken=-1), 'weaken -1'), (dict(weaken=0.5), 'weaken 0.5'), (dict(refine=1.5), 'epochs'),
    (dict(lr=-0.1), 'lr -0.1'), (dict(lr=float('nan')), 'lr nan'), (dict(lr='high'), 'lr')])
def test_wrong_options_are_refused(observe, options, says):
    with pytest.raises(UserError, match=says):
        observe(**options)


def test_images_that_would_differ_in_size_are_found_before_training(observe, dark_images, tmp_path):
    for number, path in enumerate(sorted(dark_images.rglob('*.png'))):
        target = tmp_path / 'mixed' / path.relative_to(dark_images)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((8 + number % 2, 8)).save(target)
    resized = [dict(type='RefAugTransform', name='Resize', size=[8, 8])]
    folder = observe.folder(data_root=str(tmp_path / 'mixed'), pipeline=resized)
    with pytest.raises(UserError, match='differ in size'):
        observe(dataset=folder, pipeline=[])
    observe('same', dataset=folder, pipeline=resized)


def test_two_refinements_and_a_rate_that_fell_to_nothing_are_refused(observe):
    with pytest.raises(UserError, match='2 refinements'):
        observe('two', hooks=2)
    with pytest.raises(UserError, match='next to nothing'):
        observe('cosine', scheduler=dict(type='CosineAnnealingLR', T_max=2, end=2))
    observe('fine', scheduler=dict(type='CosineAnnealingLR', T_max=2, end=2), lr=0.001)
