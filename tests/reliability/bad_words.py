"""Command lines and environments that are wrong, of every tool and every subcommand."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    'bad_world', Path(__file__).with_name('bad_world.py'))
_world = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_world)
Case, CLS, DET = _world.Case, _world.CLS, _world.DET


def line(*words, says=None):
    """Words in which HOME stands for the case's folder, and RUN for a finished run of stage 2."""
    def made(w):
        return [str(word).replace('HOME', str(w.home)).replace(
            'RUN', str(w.detected()) if 'RUN' in str(word) else '') for word in words]
    return Case(made, says or str(words[-1]).removeprefix('HOME/'))


def with_file(name, *words):
    """A file stands where a folder should be."""
    def made(w):
        w.put(name)
        return line(*words).spoil(w)
    return Case(made, name)


def environment(name, value, words, says=None):
    """A variable of the environment that is wrong; the test takes it back."""
    def made(w):
        os.environ[name] = str(w.home / value[5:]) if value.startswith('HOME/') else value
        return words(w)
    return Case(made, says or name)


TRAINING = {
    'no config': line('train_cls', says='config'),
    'unknown option': line('train_cls', CLS, '--sede', '3', says='--sede'),
    'negative seed': line('train_cls', CLS, '--seed=-1', says='--seed'),
    'huge seed': line('train_cls', CLS, '--seed', '4294967296', says='--seed'),
    'seed of text': line('train_cls', CLS, '--seed', 'one', says='--seed'),
    'seed of half': line('train_det', DET, '--backbone', 'a', '--seed', '0.5', says='--seed'),
    'cfg-options of nothing': line('train_cls', CLS, '--cfg-options', says='--cfg-options'),
    'unknown precision': line('train_cls', CLS, '--amp', 'fp8', says='--amp'),
    'unknown tracker': line('train_cls', CLS, '--track', 'paper', says='--track'),
    'tracker that is not installed': Case(lambda w: w.cls('--track', 'mlflow'), '--track'),
    'unknown launcher': line('train_cls', CLS, '--launcher', 'hand', says='--launcher'),
    'resume of nothing\'s value': line('train_cls', CLS, '--resume=now', says='--resume'),
    'name that leads out': Case(lambda w: w.cls('--name', '../x'), '../x'),
    'empty name': Case(lambda w: w.cls('--name', ''), 'name'),
    'data root of nothing': Case(lambda w: w.cls(data='/nowhere'), '/nowhere'),
    'run directory that is a file': Case(lambda w: [w.put('work'), w.cls()][1], 'work'),
    'run directory below a file': Case(lambda w: [w.put('work'), [
        *w.cls()[:4], '--work-dir', w.home / 'work' / 'run']][1], 'work'),
    'run directory of a very long name': Case(lambda w: [*w.cls()[:4], '--work-dir', 'w' * 4000],
                                              'www'),
    'run directory used before': Case(lambda w: [w.put('work/run.json', (
        w.made.run / 'run.json').read_bytes()), w.cls()][1], 'work'),
    'run.json that is a folder': Case(lambda w: [w.put('work/run.json/x'), w.cls()][1], 'work'),
    'resume with another seed': Case(lambda w: [w.copy('run').rename(w.home / 'work'),
                                                w.cls('--resume', '--seed', '7')][1], 'seed'),
    'scale-lr without a batch': Case(lambda w: w.cls(
        '--scale-lr', options=('auto_scale_lr.base_batch_size=None',)), 'base_batch_size'),
    'no backbone': line('train_det', DET, says='--backbone'),
    'empty backbone': Case(lambda w: w.det(backbone=''), 'backbone'),
    'random of nothing': Case(lambda w: w.det(backbone='random:'), 'architecture'),
    'torchvision of nothing': Case(lambda w: w.det(backbone='torchvision://'), 'architecture'),
    'refine without checkpoint': line('refine', CLS, '--name', 'x', says='--checkpoint'),
    'refine at a rate of text': line('refine', CLS, '--name', 'x', '--checkpoint', 'a', '--lr', 'x',
                                     says='--lr'),
    'refine at a rate of nan': Case(lambda w: [
        'refine', *w.cls()[1:4], '--name', 'x', '--lr', 'nan', '--checkpoint', w.weights(),
        *w.cls()[4:]], 'lr'),
    'refine for half an epoch': line('refine', CLS, '--name', 'x', '--checkpoint', 'a', '--epochs',
                                     '0.5', says='--epochs'),
    'refine with an unknown schedule': line('refine', CLS, '--name', 'x', '--checkpoint', 'a',
                                            '--schedule', 'x', says='--schedule'),
}
TOOLS = {
    'compare nothing': line('compare', says='PATH'),
    'compare with an unknown option': line('compare', 'HOME', '--bogus', says='--bogus'),
    'compare no run': line('compare', 'HOME/gone'),
    'compare into a file': with_file('file', 'compare', 'RUN', '-o', 'HOME/file'),
    'bench_voc_ap of text': line('bench_voc_ap', '--images', 'many', says='--images'),
    'bench_voc_ap of nothing': line('bench_voc_ap', '--images', '0', says='--images'),
    'bench_voc_ap of no rounds': line('bench_voc_ap', '--rounds', '0', says='--rounds'),
    'bench_voc_ap of an unknown option': line('bench_voc_ap', '--bogus'),
    'bench_spectrum of text': line('bench_spectrum', '--rows', 'many', says='--rows'),
    'bench_spectrum of nothing': line('bench_spectrum', '--rows', '0', says='--rows'),
    'bench_spectrum of -1': line('bench_spectrum', '--dimension=-1', says='--dimension'),
    'demo with an unknown option': line('demo', '--bogus'),
    'demo into a file': with_file('file', 'demo', '--out', 'HOME/file'),
    'refinement_table of nothing': line('refinement_table', says='paths'),
    'refinement_table of no run': line('refinement_table', 'HOME/gone'),
    'refinement_table of stage 2': line('refinement_table', 'RUN', says='PATH'),
    'soak of an unknown figure': line('soak', '--only', 'R99', says='--only'),
    'soak into a file': with_file('file', 'soak', '--only', 'R0', '-o', 'HOME/file')._replace(
        says='--only'),
    'bench without backbones': line('bench', '--protocol', 'voc07', says='backbones'),
}
COMMANDS = {
    'unknown command': line('refaug-det', 'bogus'), 'unknown option': line('refaug-det', '--bogus'),
    'control characters': line('refaug-det', '\x1b[2Ja\nb', says='a'),
    'unknown subcommand': line('refaug-det', 'analyze', 'bogus'),
    'backbone show of nothing': line('refaug-det', 'backbone', 'show', says='name'),
    'backbone verify of an unknown name': line('refaug-det', 'backbone', 'verify', 'nope'),
    'bench of an unknown protocol': line('refaug-det', 'bench', '--backbones', 'a', '--protocol',
                                         'voc08'),
    'bench of no seeds': line('refaug-det', 'bench', '--backbones', 'a', '--protocol', 'voc07',
                              '--seeds', '0', says='--seeds'),
    'bench of seeds of text': line('refaug-det', 'bench', '--backbones', 'a', '--protocol', 'voc07',
                                   '--seeds', 'a,b', says='--seeds'),
    'bench of no backbones': line('refaug-det', 'bench', '--backbones', ',', '--protocol', 'voc07',
                                  says='--backbones'),
    'bench of a backbone twice': line('refaug-det', 'bench', '--backbones', 'a,a', '--protocol',
                                      'voc07', says='--backbones'),
    'bench of an unknown backbone': line('refaug-det', 'bench', '--backbones', 'nope', '--protocol',
                                         'voc07', says='nope'),
    'bench with no jobs': line('refaug-det', 'bench', '--backbones', 'random:resnet18',
                               '--protocol', str(DET), '-j', '0', says='--jobs'),
    'bench with options of no =': line('refaug-det', 'bench', '--backbones', 'random:resnet18',
                                       '--protocol', str(DET), '--cfg-options', 'x',
                                       says='--cfg-options'),
    'bench into a file': with_file('file', 'refaug-det', 'bench', '--backbones', 'random:resnet18',
                                   '--protocol', str(DET), '--work-dir', 'HOME/file'),
    'compare of nothing': line('refaug-det', 'compare', says='PATHS'),
    'compare with an unknown metric': line('refaug-det', 'compare', 'RUN', '--metric', 'mAP',
                                           says='--metric'),
    'compare with an unknown baseline': line('refaug-det', 'compare', 'RUN', '--baseline', 'x',
                                             says='--baseline'),
    'compare with resamples of -1': line('refaug-det', 'compare', 'RUN', '--test', '--resamples',
                                         '-1', says='--resamples'),
    'compare with huge resamples': line('refaug-det', 'compare', 'RUN', '--resamples', 'x',
                                        says='--resamples'),
    'compare into a file': with_file('file', 'refaug-det', 'compare', 'RUN', '-o', 'HOME/file'),
    'paper of an unknown table': line('refaug-det', 'paper', 'table99'),
    'paper of no run': line('refaug-det', 'paper', 'table1', 'HOME/gone'),
    'paper into a file': with_file('file', 'refaug-det', 'paper', 'table1', '-o', 'HOME/file'),
    'protocol of no config': line('refaug-det', 'protocol', 'show', 'HOME/gone.py'),
    'protocol of no run': line('refaug-det', 'protocol', 'show', 'HOME/gone'),
    'protocol of an empty config': Case(lambda w: ['refaug-det', 'protocol', 'show', w.put(
        'a.py')], 'a.py'),
    'protocol of one side': line('refaug-det', 'protocol', 'diff', 'HOME/a.py', says='B'),
    'protocol of batches of text': Case(lambda w: ['refaug-det', 'protocol', 'show', w.put(
        'a.py', f'_base_ = [{str(DET)!r}]\ntrain_dataloader = dict(batch_size="x")')],
        'batch_size'),
    'protocol of a loader of no dict': Case(lambda w: ['refaug-det', 'protocol', 'show', w.put(
        'a.py', f'_base_ = [{str(DET)!r}]\ntrain_dataloader = 3')], 'train_dataloader'),
    'eval of nothing': line('refaug-det', 'eval', says='PATHS'),
    'eval of no run': line('refaug-det', 'eval', 'HOME/gone'),
    'show of no image': line('refaug-det', 'show', 'RUN', '--data-root', 'HOME', '--images', '0',
                             says='--images'),
    'show of a score of nan': line('refaug-det', 'show', 'RUN', '--data-root', 'HOME', '--score',
                                   'nan', says='--score'),
    'show without data root': line('refaug-det', 'show', 'RUN', says='--data-root'),
    'errors at an IoU of 2': line('refaug-det', 'analyze', 'errors', 'RUN', '--iou', '2',
                                  says='--iou'),
    'errors at an IoU of nan': line('refaug-det', 'analyze', 'errors', 'RUN', '--iou', 'nan',
                                    says='--iou'),
    'errors in an unknown mode': line('refaug-det', 'analyze', 'errors', 'RUN', '--mode', 'x',
                                      says='--mode'),
    'errors into a file': with_file('file', 'refaug-det', 'analyze', 'errors', 'RUN', '-o',
                                    'HOME/file'),
    'probe of no side': line('refaug-det', 'analyze', 'probe', 'random:resnet18', '--data-root',
                             'HOME', '--side', '1', says='--side'),
    'probe of an unknown backbone': line('refaug-det', 'analyze', 'probe', 'nope', '--data-root',
                                         'HOME', says='nope'),
    'risk of no run': line('refaug-det', 'analyze', 'risk', 'HOME/gone'),
    'spectrum of no run': line('refaug-det', 'analyze', 'spectrum', 'HOME/gone'),
    'spectrum of nothing': line('refaug-det', 'analyze', 'spectrum', says='RUNS'),
    'spectrum of an unknown scale': line('refaug-det', 'analyze', 'spectrum', 'HOME', '--scale',
                                         'x', says='--scale'),
    'switch of nothing': line('refaug-det', 'analyze', 'switch', says='PATHS'),
    'switch of no run': line('refaug-det', 'analyze', 'switch', 'HOME/gone'),
    'switch of a median of 0': line('refaug-det', 'analyze', 'switch', 'RUN', '--median-of', '0',
                                    says='--median-of'),
    'surface of one run': line('refaug-det', 'analyze', 'surface', '--standard', 'HOME/a',
                               says='--augmented'),
    'surface of no run': line('refaug-det', 'analyze', 'surface', '--standard', 'HOME/gone',
                              '--augmented', 'HOME/gone', '--refined', 'HOME/gone', says='gone'),
    'curves of a file': with_file('file', 'refaug-det', 'analyze', 'curves', 'HOME/file'),
}
OF_STAGE1 = {
    name: Case(lambda w, words=words: ['refaug-det', 'analyze', words[0], *(
        w.copy('run') for _ in [0]), *words[1:]], says)
    for name, says, *words in (
        ('risk of -1 draws', 'draws', 'risk', '--draws', '-1'),
        ('risk of no image', 'images', 'risk', '--images', '0'),
        ('risk of an unknown clean', 'clean', 'risk', '--clean', 'x'),
        ('risk with unknown statistics', 'bn', 'risk', '--bn', 'x'),
        ('spectrum of an unknown class', 'nope', 'spectrum', '--class', 'nope'),
        ('spectrum of an unknown split', 'split', 'spectrum', '--split', 'nope'),
        ('spectrum of -1 images', 'images', 'spectrum', '--images', '-1'),
        ('switch of one run', 'switch', 'switch'))}
VARIABLES = {
    'a zoo that is a file': environment('REFAUG_DET_ZOO', 'HOME/file', lambda w: [
        'refaug-det', 'backbone', 'add', 'x', '--from', [w.put('file'), w.weights()][1]], 'file'),
    'a zoo that is a loop': environment('REFAUG_DET_ZOO', 'HOME/loop', lambda w: [(
        w.home / 'loop').symlink_to(w.home / 'loop'), 'refaug-det', 'backbone', 'add', 'x',
        '--from', w.weights()][1:], 'loop'),
    'torchrun\'s variables by hand': environment('RANK', 'two', lambda w: w.cls(
        '--launcher', 'pytorch')),
    'torchrun\'s variables, none': Case(lambda w: w.cls('--launcher', 'pytorch'), '--launcher'),
    'slurm\'s variables, none': Case(lambda w: w.cls('--launcher', 'slurm'), '--launcher'),
    'GPUs of text': environment('CUDA_VISIBLE_DEVICES', 'gpu', lambda w: [
        'refaug-det', 'bench', '--backbones', 'nope', '--protocol', 'voc07'], 'nope'),
}
CASES = {f'{table}, {name}': case for table, cases in (
    ('training', TRAINING), ('tool', TOOLS), ('command', COMMANDS), ('stage 1', OF_STAGE1),
    ('variable', VARIABLES)) for name, case in cases.items()}
