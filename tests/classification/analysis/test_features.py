"""Spectra of a run's features against numpy on the whole matrix, and loading a run."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from classification.analysis import features, figures, loading
from classification.analysis.loading import classifier_of, images_of, loader_of, open_run, parse
from refaug_det import cli
from refaug_det.errors import UserError
from refaug_det.figures import save
from refaug_det.runs import results


def whole(run, weights):
    """(N, D) features of the clean training images, and labels, without streaming."""
    classifier, dataset = classifier_of(run, weights), images_of(run.cfg, 'clean')
    samples = [dataset[i] for i in range(len(dataset))]
    data = classifier.data_preprocessor(dict(
        inputs=torch.stack([s['inputs'] for s in samples]),
        label=torch.tensor([s['label'] for s in samples])))
    with torch.inference_mode():
        return classifier.network.features(data['inputs']).numpy(), data['label'].numpy()


def squares(x, freedom):
    """Singular values of the covariance of (N, D), padded to D."""
    values = np.linalg.svd(x.astype(np.float64), compute_uv=False) ** 2 / freedom
    return np.pad(values, (0, x.shape[1] - len(values)))


@pytest.mark.parametrize('weights', ['last', 'augmented'])
def test_spectra_are_those_of_the_whole_matrix(mixup_run, weights):
    run = open_run(mixup_run)
    told = features.spectra(run, weights, classes=('ring',))
    x, labels = whole(run, weights)
    names = images_of(run.cfg, 'test').classes
    centred = x - np.stack([x[labels == label].mean(0) for label in labels])
    one = x[labels == names.index('ring')]
    for part, exact in (
            (told['all_classes'], squares(x - x.mean(0), len(x) - 1)),
            (told['intra_class'], squares(centred, len(x) - 8)),
            (told['classes_alone']['ring'], squares(one - one.mean(0), len(one) - 1))):
        assert np.allclose(part['covariance'], exact, rtol=0, atol=1e-6 * exact[0])
        assert not np.allclose(part['covariance'], 1.01 * exact, rtol=0, atol=1e-6 * exact[0])
    assert (told['images'], told['classes'], told['features']) == (32, 8, x.shape[1])
    assert np.allclose(told['intra_class']['scatter'], squares(centred, 8), rtol=1e-5, atol=1e-7)
    assert list(told['all_classes']['around_classes']) == ['7', '8', '9']


def test_bad_input(mixup_run, monkeypatch):
    run = open_run(mixup_run)
    with pytest.raises(UserError, match='no class'):
        features.spectra(run, classes=('nothing',))
    with pytest.raises(UserError):
        features.spectra(run, split='val')
    with pytest.raises(UserError, match='two images'):
        features.spectra(run, images=2)


def test_the_command(mixup_run, tmp_path, capsys):
    assert cli.main(['analyze', 'spectrum', f'{mixup_run}:augmented', str(mixup_run),
                     '--scale', 'scatter', '-o', str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count('effective rank') == 2
    assert (tmp_path / 'spectrum.svg').is_file()
    stored = results.read(mixup_run / 'spectrum.json')
    assert [entry['weights'] for entry in stored] == ['augmented', 'last']
    assert cli.main(['analyze', 'spectrum', str(mixup_run), '--scale', 'other']) == 2


def test_figures_are_the_same_bytes_for_the_same_numbers(tmp_path):
    for number, mean in enumerate((5.0, 5.0, 6.0)):
        points = [dict(switch=at, mean=mean, low=4.0, high=7.0, n=2) for at in (1, 2)]
        save(figures.switch_curve(points, 3), tmp_path / str(number))
    for suffix in ('svg', 'png'):
        first, again, other = ((tmp_path / f'{n}.{suffix}').read_bytes() for n in range(3))
        assert first == again
        assert first != other


def test_which_weights(mixup_run, standard_run, tmp_path):
    run = open_run(mixup_run)
    kept = load_file(mixup_run / 'weights_augmented.safetensors')
    save_file({f'network.{k}': v for k, v in kept.items()}, tmp_path / 'file.safetensors')
    states = {weights: classifier_of(run, weights).network.state_dict() for weights in (
        'last', 'augmented', str(tmp_path / 'file.safetensors'))}
    last, augmented, file = states.values()
    assert all(torch.equal(augmented[k], kept[k]) for k in kept)
    assert all(torch.equal(augmented[k], file[k]) for k in kept)
    assert not all(torch.equal(augmented[k], last[k]) for k in kept)
    del kept['net.fc.bias']
    save_file(kept, tmp_path / 'half.safetensors')
    with pytest.raises(UserError, match='did not load whole'):
        classifier_of(run, str(tmp_path / 'half.safetensors'))
    with pytest.raises(UserError, match='no weights of an augmented phase'):
        classifier_of(open_run(standard_run), 'augmented')


def test_a_run_that_lacks_something(mixup_run, tmp_path, toy_images):
    copy = tmp_path / 'copy'
    shutil.copytree(mixup_run, copy)
    assert len(images_of(open_run(copy, toy_images).cfg, 'clean')) == 32
    with pytest.raises(UserError, match='not here'):
        images_of(open_run(copy, tmp_path).cfg, 'clean')
    for path in copy.glob('iter_*.pth'):
        path.unlink()
    with pytest.raises(UserError, match='no checkpoint'):
        classifier_of(open_run(copy))
    (copy / 'config.json').unlink()
    with pytest.raises(UserError, match='lost its config'):
        open_run(copy)
    (copy / 'run.json').unlink()
    with pytest.raises(UserError, match='no run record'):
        open_run(copy)


def test_a_run_that_is_not_done_is_called_so(mixup_run):
    run = open_run(mixup_run)
    assert run.title('last') == 'tiny (last)'
    run.record.status = 'interrupted'
    assert run.title('last') == 'tiny (last; the run is interrupted)'


def test_words_for_runs():
    assert [str(part) for part in parse('a/b:augmented')] == ['a/b', 'augmented']
    assert [str(part) for part in parse('a:b')] == ['a:b', 'last']
    assert [str(part) for part in parse('a:last')] == ['a', 'last']


def test_batches_are_a_random_order_that_is_known(mixup_run):
    run = open_run(mixup_run)
    loader = loader_of(run.cfg, images_of(run.cfg, 'clean'), seed=3)
    labels = np.array([label for _, label in images_of(run.cfg, 'clean').samples])
    for draw in (0, 1):
        order = loading.set_draw(loader, draw)
        came = torch.cat([batch['label'] for batch in loader]).numpy()
        assert np.array_equal(came, labels[order])
        assert not np.array_equal(came, labels)
        assert sorted(order) == list(range(32))
    assert not np.array_equal(loading.set_draw(loader, 0), order)
    subset = loader_of(run.cfg, images_of(run.cfg, 'clean'), 3, images=5).dataset
    assert len(subset) == 5
