"""Stage 1 through its command line: what a run leaves behind, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from mmengine.runner import EpochBasedTrainLoop

from refaug_det.backbones import zoo
from refaug_det.runs import history, records
from refaug_det.runs.loops import RefAugTrainLoop
from refaug_det.toy_world import CLASSES

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def finished(train_cls, arguments, tmp_path_factory):
    """Folder of one finished run of toy_mixup_refine: its `run` and its `zoo`."""
    home = tmp_path_factory.mktemp('finished')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('REFAUG_DET_ZOO', str(home / 'zoo'))
        assert train_cls(arguments(home / 'run')) == 0
    return home


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, in the place where `words` and the zoo are."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / 'run'


def state(folder):
    """All files of a finished run that a resume must not change."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*')
            if p.suffix in ('.pth', '.safetensors') or p.name == 'history.json'}


def refused(train_cls, capfd, argv, *says):
    """Exit code 2, at most three lines on stderr that say this, no traceback."""
    capfd.readouterr()
    code = train_cls(argv)
    text = capfd.readouterr()
    assert code == 2, text
    assert 'Traceback' not in text.err + text.out
    assert 0 < len(text.err.strip().splitlines()) <= 3, text.err
    for word in says:
        assert str(word) in text.err, text.err


def test_a_finished_run(finished):
    run = records.read(finished / 'run')
    rows = history.read(finished / 'run')
    assert (run.status, run.stage, run.name, run.seed) == (
        'done', 'classification', 'toy_mixup_refine', 0)
    assert run.selection == 'last epoch'
    assert run.error is None
    assert set(run.metrics) == {'top-1', 'top-5', 'cross entropy'}
    assert run.metrics == history.test_metrics(rows[-1])
    assert all(0 <= run.metrics[key] <= 100 for key in ('top-1', 'top-5'))
    assert [row['phase'] for row in rows] == ['augmented', 'augmented', 'refinement']
    assert [row['augmented_share'] for row in rows] == [1, 1, 0]
    assert [round(row['lr'], 9) for row in rows] == [0.1, 0.01, 0.01]
    assert run.registered == ['toy_mixup_refine-augmented', 'toy_mixup_refine-refined']


def test_both_backbones_are_registered(finished, monkeypatch):
    monkeypatch.setenv('REFAUG_DET_ZOO', str(finished / 'zoo'))
    run, rows = records.read(finished / 'run'), history.read(finished / 'run')
    augmented, refined = (zoo.verify(name) for name in run.registered)
    for card, row, phase in ((augmented, rows[1], 'augmented'), (refined, rows[2], 'refinement')):
        assert card.provenance['run'] == run.id
        assert (card.provenance['epoch'], card.provenance['phase']) == (row['epoch'], phase)
        assert card.metrics == history.test_metrics(row)
        assert card.spec.width == 8
    assert augmented.sha256 != refined.sha256


def test_resuming_a_finished_run_changes_nothing(train_cls, words, copy, capfd):
    before, run = state(copy), records.read(copy)
    cards = {name: zoo.verify(name) for name in zoo.names()}
    assert train_cls(words('--resume')) == 0
    assert 'resumed from iter_6.pth (epoch 3)' in capfd.readouterr().out
    again = records.read(copy)
    assert state(copy) == before
    assert (again.id, again.status, again.started, again.metrics, again.registered) == (
        run.id, 'done', run.started, run.metrics, run.registered)
    for name, card in cards.items():
        now = zoo.verify(name)
        assert (now.sha256, now.metrics, now.provenance) == (
            card.sha256, card.metrics, card.provenance)


@pytest.mark.parametrize('epoch', [2, 3])
@pytest.mark.parametrize('loop', ['ours', "mmengine's"])
def test_a_run_killed_in_a_validation_makes_up_for_it(train_cls, words, copy, epoch, loop,
                                                      monkeypatch):
    rows, before, run = history.read(copy), state(copy), records.read(copy)
    torn = [dict(row) for row in rows[:epoch]]
    for key in history.test_metrics(torn[-1]):
        del torn[-1][key]
    (copy / history.FILE_NAME).write_text(json.dumps(torn))
    for path in copy.glob('iter_6.pth') if epoch == 2 else ():
        path.unlink()
    if loop == "mmengine's":
        monkeypatch.setattr(RefAugTrainLoop, 'run', EpochBasedTrainLoop.run)
    assert train_cls(words('--resume')) == 0
    if loop == 'ours':
        assert history.read(copy) == rows
        assert state(copy) == before
        assert records.read(copy).metrics == run.metrics
    else:  # an epoch stays without metrics
        assert [history.test_metrics(row) for row in history.read(copy)][epoch - 1] == {}


def test_a_used_directory_is_refused(train_cls, words, copy, capfd):
    before = state(copy)
    refused(train_cls, capfd, words(), copy, '--resume', '--overwrite')
    assert state(copy) == before
    assert records.read(copy).status == 'done'


def test_resume_with_another_config_is_refused(train_cls, words, copy, capfd):
    before = state(copy)
    refused(train_cls, capfd, words('--resume', options=['model.network.depth=34']),
            'model.network.depth: 18 -> 34')
    assert state(copy) == before


def test_a_run_without_refinement_registers_one_backbone(train_cls, words, tmp_path):
    standard = ROOT / 'configs' / 'cls' / 'toy_standard.py'
    assert train_cls(words('--name', 'plain', config=standard, epochs=1, refine=None)) == 0
    assert records.read(tmp_path / 'run').registered == zoo.names() == ['plain']
    assert zoo.card('plain').provenance['phase'] is None


def test_a_subset_of_classes_in_a_given_order(train_cls, words, tmp_path):
    assert train_cls(words('--classes', 'ring, disc', '--name', 'two', epochs=2)) == 0
    run = records.read(tmp_path / 'run')
    assert run.status == 'done'
    assert set(run.metrics) == {'top-1', 'cross entropy'}  # of two classes
    resolved = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert resolved['model']['num_classes'] == 2
    for part in ('train_dataloader', 'val_dataloader'):
        assert resolved[part]['dataset']['classes'] == ['ring', 'disc']


def test_wrapped_data_sets(train_cls, words, toy_images, tmp_path):
    config = tmp_path / 'wrapped.py'
    leaf = dict(type='RefAugImageFolder', data_root='elsewhere', split='train', pipeline=[])
    repeat = dict(type='RepeatDataset', times=2, dataset=leaf)
    config.write_text(f"_base_ = {words()[0]!r}\n"
                      f"train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', "
                      f"datasets=[{repeat}, {leaf}]))\n")
    argv = words(config=config, epochs=2)
    argv = [word for word in argv if 'pipeline.0' not in word]
    assert train_cls(argv) == 0
    rows = history.read(tmp_path / 'run')
    assert [row['iteration'] for row in rows] == [6, 12]  # 3 x 32 images, 16 at a time
    assert [row['augmented_share'] for row in rows] == [1, 0]
    resolved = json.loads((tmp_path / 'run' / 'config.json').read_text())
    inner = resolved['train_dataloader']['dataset']['datasets']
    assert inner[0]['dataset']['classes'] == inner[1]['classes'] == sorted(CLASSES)


def test_missing_data(train_cls, words, tmp_path, capfd):
    refused(train_cls, capfd, words(data=tmp_path / 'nowhere'), tmp_path / 'nowhere' / 'train',
            '--data-root')
    assert not (tmp_path / 'run').exists()


def test_another_number_of_classes(train_cls, words, tmp_path, toy_images, capfd):
    refused(train_cls, capfd, words(options=['model.num_classes=10']), '8 classes in the data',
            '10 in the config', toy_images)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(('more', 'options', 'says'), [
    (['--classes', 'ring,disk'], [], "did you mean 'disc'"),
    (['--classes', 'ring,ring'], [], 'twice'),
    ([], ['train_cgf.max_epochs=3'], "did you mean 'train_cfg'"),
    ([], ['model.network.dept=18'], "did you mean 'depth'"),
    ([], ['model.batch_augments.0.alpha=-1'], 'alpha'),
    ([], ['custom_hooks.0.epochs=-1'], 'epochs -1'),
    ([], ['custom_hooks.0.epochs=4'], '4 refinement epochs of 3'),
    ([], ['train_dataloader.dataset.pipeline.0.name=RandomCorp'], "did you mean 'RandomCrop'"),
    ([], ['train_dataloader.dataset.pipeline.0.size=200'], '.jpg'),
    ([], ['model.network.depth'], 'KEY=VALUE'),
    (['--seed', 'none'], [], '--seed'),
])
def test_wrong_options(train_cls, words, capfd, more, options, says):
    refused(train_cls, capfd, words(*more, options=options), says)


@pytest.mark.parametrize('config', ['configs/cls/toy_mixup_refin.py', 'configs/cls',
                                    'nowhere/at/all.py', 'LICENSE', 'tools/dist_train.sh'])
def test_configs_that_are_none(train_cls, words, capfd, config):
    refused(train_cls, capfd, [config, *words()[1:]], config)


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('workers', [0, 1])
def test_a_corrupt_image_is_named(train_cls, words, toy_images, tmp_path, capfd, split, workers):
    shutil.copytree(toy_images, tmp_path / 'data')
    broken = tmp_path / 'data' / split / 'ring' / '00001.jpg'
    broken.write_bytes(b'no image')
    argv = words(data=tmp_path / 'data', epochs=1, refine=0, options=[
        f'train_dataloader.num_workers={workers}', f'val_dataloader.num_workers={workers}'])
    refused(train_cls, capfd, argv, 'cannot decode', broken)
    run = records.read(tmp_path / 'run')
    assert run.status == 'failed'
    assert 'cannot decode' in run.error
    assert zoo.names() == []


def test_load_from_runs_no_code_and_loads_nothing_by_halves(words, train_cls, tmp_path, capsys):
    import pickle

    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'ran',)

    (tmp_path / 'bad.pth').write_bytes(pickle.dumps(Payload()))
    assert train_cls([*words(options=[f'load_from={tmp_path / "bad.pth"}'])]) == 2
    assert 'tools/refine.py --checkpoint' in capsys.readouterr().err
    assert not (tmp_path / 'ran').exists()
    pickle.loads((tmp_path / 'bad.pth').read_bytes())
    assert (tmp_path / 'ran').exists()  # the payload works


def test_a_resume_with_other_data_is_refused(words, train_cls, toy_images, tmp_path, capsys):
    less = shutil.copytree(toy_images, tmp_path / 'less')
    assert train_cls([*words()]) == 0
    next((less / 'train').rglob('*.jpg')).unlink()
    assert train_cls([*words('--resume', data=less)]) == 2
    assert 'had 32 training images, here are 31' in capsys.readouterr().err
