"""`refaug-det analyze risk` and `curves` on runs that were really trained."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from classification.analysis import commands, gaps, loading
from classification.analysis.loading import classifier_of, images_of, open_run
from refaug_det.errors import UserError
from refaug_det.runs import directory, history, results
from refaug_det.runs.records import RunRecord


@pytest.fixture(scope='module')
def entries(mixup_run):
    """weights -> what `measure` says of them, twice."""
    run = open_run(mixup_run)
    return {weights: [gaps.measure(run, weights, draws=2, resamples=50, per_class=True)
                      for _ in range(2)] for weights in ('last', 'augmented')}


def test_two_calls_give_the_same_numbers(entries, mixup_run):
    for first, second in entries.values():
        assert first == second
    assert entries['last'][0] != entries['augmented'][0]
    other = gaps.measure(open_run(mixup_run), draws=3, resamples=50)
    assert other['augmented_train']['value'] != entries['last'][0]['augmented_train']['value']
    assert other['clean_train']['value'] == entries['last'][0]['clean_train']['value']


def test_gaps_are_differences_and_lie_in_their_intervals(entries):
    for entry, _ in entries.values():
        value = {name: entry[name]['value'] for name in (
            'clean_train', 'augmented_train', 'test', 'augmentation_gap', 'generalisation_gap')}
        assert value['augmentation_gap'] == pytest.approx(
            value['augmented_train'] - value['clean_train'])
        assert value['generalisation_gap'] == pytest.approx(value['test'] - value['clean_train'])
        assert all(entry[name]['low'] <= value[name] <= entry[name]['high'] for name in value)
        assert entry['clean_train']['n'] == 32
        assert entry['test']['n'] == 16


def test_clean_risk_is_that_of_the_files(entries, mixup_run, toy_images):
    """By hand, from the files: no crop, no flip, running statistics."""
    run = open_run(mixup_run)
    classifier = classifier_of(run)
    for split, name in (('train', 'clean_train'), ('val', 'test')):
        paths = sorted((toy_images / split).rglob('*.jpg'))
        names = sorted(p.name for p in (toy_images / split).iterdir())
        pixels = torch.stack([torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1)
                              for p in paths])
        label = torch.tensor([names.index(p.parent.name) for p in paths])
        with torch.inference_mode():
            logits = classifier(**classifier.data_preprocessor(dict(inputs=pixels, label=label)))
        risk = F.cross_entropy(logits, label).item()
        assert entries['last'][0][name]['value'] == pytest.approx(risk, abs=1e-5)
        assert entries['augmented'][0][name]['value'] != pytest.approx(risk, abs=1e-5)
    row = history.read(mixup_run)[-1]
    assert entries['last'][0]['test']['value'] == pytest.approx(row['cross entropy'], abs=1e-5)


def test_classes_average_to_the_whole(entries):
    entry = entries['last'][0]
    assert len(entry['classes']) == 8
    for name in ('clean_train', 'augmented_train', 'test'):
        mean = np.mean([of[name]['value'] for of in entry['classes'].values()])
        assert mean == pytest.approx(entry[name]['value'])
        assert sum(of[name]['n'] for of in entry['classes'].values()) == entry[name]['n']


def test_what_the_weights_were_trained_on(entries, standard_run, mixup_run):
    assert entries['augmented'][0]['trained_on'] == 'augmented_train'
    assert entries['last'][0]['trained_on'] == 'standard_train'
    run = open_run(mixup_run)
    run.cfg.custom_hooks[0]['pipeline'] = []  # the ablation: refinement without crop and flip
    assert gaps._trained_on(run, 'refinement') == 'clean_train'
    run = open_run(standard_run)
    entry = gaps.measure(run, resamples=10)
    assert entry['trained_on'] == 'augmented_train'
    assert entry['augmented_train'] == entry['standard_train']  # nothing beyond the standard
    run.cfg.custom_hooks = [dict(type='RefAugRefinementHook', epochs=1, pipeline=[])]
    bare = gaps.measure(run, resamples=10)  # crop and flip are what this refinement takes away
    assert bare['augmented_train'] == entry['augmented_train']
    assert bare['standard_train'] == bare['clean_train'] == entry['clean_train']
    assert entries['last'][0]['augmented_train'] != entries['last'][0]['standard_train']


def test_options_change_what_they_say(entries, mixup_run):
    run, entry = open_run(mixup_run), entries['last'][0]
    cropped = gaps.measure(run, clean='standard', draws=2, resamples=10)
    assert cropped['clean_train'] == cropped['standard_train']
    assert cropped['standard_train']['value'] == entry['standard_train']['value']
    assert cropped['clean_train']['value'] != entry['clean_train']['value']
    batch = gaps.measure(run, bn='train', resamples=10)
    assert batch['clean_train']['value'] != entry['clean_train']['value']
    few = gaps.measure(run, images=10, resamples=10)
    assert few['clean_train']['n'] == few['test']['n'] == 10


@pytest.mark.parametrize('options', [dict(draws=0), dict(clean='none'), dict(bn='both'),
                                     dict(images=0)])
def test_bad_options(mixup_run, options):
    with pytest.raises(UserError):
        gaps.measure(open_run(mixup_run), **options)


def test_images_as_an_analysis_wants_them(mixup_run):
    cfg = open_run(mixup_run).cfg
    cfg.train_dataloader.dataset.pipeline.append(
        dict(type='RefAugAugmentation', name='RandomInvert', p=1.0))
    kinds = {kind: images_of(cfg, kind) for kind in ('clean', 'standard', 'augmented', 'test')}
    assert [len(kinds[kind]) for kind in kinds] == [32, 32, 32, 16]
    said = {kind: [dataset[i]['augmented'] for i in range(4)] for kind, dataset in kinds.items()}
    assert said == {'clean': [False] * 4, 'standard': [False] * 4, 'augmented': [True] * 4,
                    'test': [False] * 4}
    clean, crops = kinds['clean'], kinds['standard']
    assert torch.equal(clean[5]['inputs'], clean[5]['inputs'])
    assert any(not torch.equal(crops[5]['inputs'], clean[5]['inputs']) for _ in range(5))
    assert loading.is_augmented(cfg)
    cfg.custom_hooks[0]['pipeline'] = []
    assert torch.equal(images_of(cfg, 'standard')[5]['inputs'], clean[5]['inputs'])


@pytest.mark.parametrize('wrapper', [
    lambda one: dict(type='RepeatDataset', times=3, dataset=one),
    lambda one: dict(type='ConcatDataset', datasets=[one, one])])
def test_images_inside_wrappers(mixup_run, wrapper):
    cfg = open_run(mixup_run).cfg
    plain = images_of(cfg, 'clean')
    cfg.train_dataloader.dataset = wrapper(cfg.train_dataloader.dataset)
    wrapped = images_of(cfg, 'clean')
    assert len(wrapped) in (32, 64)  # repetitions say nothing new; another data set does
    assert torch.equal(wrapped[7]['inputs'], plain[7]['inputs'])
    augmented = images_of(cfg, 'standard')
    assert any(not torch.equal(augmented[7]['inputs'], plain[7]['inputs']) for _ in range(5))


def test_a_data_set_without_a_pipeline(mixup_run):
    cfg = open_run(mixup_run).cfg
    del cfg.train_dataloader.dataset['pipeline']
    with pytest.raises(UserError, match='takes no pipeline'):
        images_of(cfg, 'clean')


def test_the_command_writes_an_entry_for_each_weights(mixup_run, capsys):
    for weights in ('last', 'augmented', 'last'):
        assert commands.risk(mixup_run, weights=weights, images=16) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert 'in nats' in said[0]
    stored = json.loads((mixup_run / 'risk.json').read_text())
    assert [entry['weights'] for entry in stored] == ['augmented', 'last']
    assert all(entry['schema'] == results.SCHEMA for entry in stored)
    assert set(stored[0]['augmentation_gap']) == {'value', 'low', 'high', 'n'}
    assert (mixup_run / 'risk.svg').read_bytes().startswith(b'<?xml')
    assert (mixup_run / 'risk.png').read_bytes().startswith(b'\x89PNG')


def test_another_runs_entries_are_not_kept(tmp_path):
    path = tmp_path / 'risk.json'
    results.keep(path, 'a', 'last', dict(value=1))
    results.keep(path, 'a', 'augmented', dict(value=2))
    assert [e['value'] for e in results.read(path)] == [1, 2]
    results.keep(path, 'b', 'last', dict(value=3))
    assert [e['value'] for e in results.read(path)] == [3]
    path.write_text('[{"schema": 99}]')
    with pytest.raises(UserError, match='schema'):
        results.read(path)
    path.write_text('{')
    with pytest.raises(UserError):
        results.keep(path, 'b', 'last', {})
    assert path.read_text() == '{'


def test_a_run_that_is_overwritten_loses_its_analyses(tmp_path):
    ours = [f'{stem}.{suffix}' for stem in ('risk', 'curves', 'spectrum', 'surface')
            for suffix in ('json', 'svg', 'png')] + ['risks.json', 'surface_lines.svg']
    for name in [*ours, 'notes.txt']:
        (tmp_path / name).write_text('[]')
    record = RunRecord(name='a', stage='classification')
    record.write(tmp_path)
    directory.claim(tmp_path, {}, record, overwrite=True)
    assert [path.name for path in tmp_path.glob('*.*') if path.name in ours] == []
    assert (tmp_path / 'notes.txt').is_file()


def test_curves_of_a_run_with_and_without_the_hook(mixup_run, standard_run, capsys):
    assert commands.curves(mixup_run) == 0
    assert 'ended after epoch 2' in capsys.readouterr().out
    (stored,) = json.loads((mixup_run / 'curves.json').read_text())
    assert list(stored['series']) == ['clean_train', 'augmented_train', 'test', 'objective']
    assert [epoch for epoch, _ in stored['series']['clean_train']] == [2, 3]
    assert [epoch for epoch, _ in stored['series']['objective']] == [1, 2, 3]
    assert stored['switch'] == 2
    assert commands.curves(standard_run) == 0
    assert 'RefAugRiskHook' in capsys.readouterr().out
    (stored,) = json.loads((standard_run / 'curves.json').read_text())
    assert list(stored['series']) == ['test', 'objective']
    assert stored['switch'] is None
