"""Weights files: nothing in them is executed, and a backbone is whole or refused."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from refaug_det.backbones import formats
from refaug_det.backbones.formats import load_whole, match, read_weights
from refaug_det.backbones.resnets import build, reference
from refaug_det.errors import UserError

PICKLE = functools.partial(pickle.dump, protocol=2)


class Payload:
    """Unpickling this runs code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture(scope='module')
def states() -> dict[str, dict[str, torch.Tensor]]:
    """Narrow ResNets with torchvision's keys, the classifier included."""
    torch.manual_seed(0)
    return {f'resnet{depth}': build(depth, 8, 10).state_dict() for depth in (18, 34, 50, 101)}


@pytest.fixture
def saved(tmp_path, states):
    """`saved(name, prefix)`: a .pth file of one of them; returns its path."""
    def save(name: str, prefix: str = '', wrap=lambda state: state) -> Path:
        path = tmp_path / f'{name}.pth'
        torch.save(wrap({prefix + k: v for k, v in states[name].items()}), path)
        return path
    return save


# Reading

@pytest.mark.parametrize('wrap', [
    lambda s: s, lambda s: dict(state_dict=s, epoch=3), lambda s: dict(model=s, args='x'),
    lambda s: dict(model_state_dict=s), lambda s: dict(model=dict(state_dict=s)),
    lambda s: dict(state_dict=dict(model=s), model={}),
    lambda s: dict(s, epoch=3, name='x')])
def test_containers_are_opened(saved, states, wrap):
    found = read_weights(saved('resnet18', wrap=wrap))
    assert found.keys() == states['resnet18'].keys()
    assert all(torch.equal(found[k], v) for k, v in states['resnet18'].items())


def test_networks_side_by_side_keep_their_names(tmp_path):
    one, two = {'a': torch.zeros(1)}, {'a': torch.ones(1)}
    torch.save(dict(student=one, teacher=two, optimizer={'state': {0: one}}, epoch=1),
               tmp_path / 'a.pth')
    found = formats.read_checkpoint(tmp_path / 'a.pth')
    assert found.tensors == {'student.a': one['a'], 'teacher.a': two['a']}
    assert found.beside == ('optimizer', 'epoch')


@pytest.mark.parametrize(('wrap', 'beside'), [
    (lambda s: s, ()), (lambda s: dict(s, epoch=3), ('epoch',)),
    (lambda s: dict(state_dict=s, epoch=3, ema=s), ('epoch', 'ema')),
    (lambda s: dict(model=dict(state_dict=s, x=1), args='x'), ('args',))])
def test_what_was_not_read_is_named(saved, wrap, beside):
    assert formats.read_checkpoint(saved('resnet18', wrap=wrap)).beside == beside


@pytest.mark.parametrize(('content', 'said'), [
    (b'\n<!DOCTYPE html><html>Sign in</html>', 'web page'), (b'<HTML><head>', 'web page'),
    (b'version https://git-lfs.github.com/spec/v1', 'git-lfs pointer')])
@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors', 'a.pkl'])
def test_a_page_or_a_pointer_is_called_so(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_weights(tmp_path / name)


def test_safetensors_are_read(tmp_path, states):
    save_file(states['resnet18'], tmp_path / 'a.safetensors')
    found = read_weights(tmp_path / 'a.safetensors')
    assert all(torch.equal(found[k], v) for k, v in states['resnet18'].items())


@pytest.mark.parametrize('save', [torch.save, PICKLE], ids=['torch', 'pickle'])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, save):
    path, mark = tmp_path / 'a.pth', tmp_path / 'mark'
    with open(path, 'wb') as file:
        save({'conv1.weight': torch.zeros(2), 'x': Payload(mark)}, file)
    with pytest.raises(UserError, match='not a weights file that can be read safely'):
        read_weights(path)
    assert not mark.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert mark.exists()  # the payload is live


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
@pytest.mark.parametrize('content', [
    b'', b'<!DOCTYPE html><html><body>Sign in</body></html>', b'\x80\x02}q\x00.', b'PK\x03\x04',
    b'\xff' * 64, b'\xff\xff\xff\xff\xff\xff\xff\x7f{}', b'version https://git-lfs.github.com'])
def test_other_files_are_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_weights(path)
    assert caught.value.where == str(path)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
def test_a_truncated_file_is_refused(tmp_path, states, name):
    path = tmp_path / name
    (torch.save if name == 'a.pth' else save_file)(states['resnet18'], path)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[:int(share * len(whole))])
        with pytest.raises(UserError, match='not a weights file'):
            read_weights(path)
    path.write_bytes(whole)
    assert read_weights(path)


@pytest.mark.parametrize('value', [
    {}, [], torch.zeros(3), None, 3, {'epoch': 3}, {'state_dict': {}}, {0: torch.zeros(2)}])
def test_a_file_without_named_tensors(tmp_path, value):
    torch.save(value, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='holds no tensors'):
        read_weights(tmp_path / 'a.pth')


def test_no_file(tmp_path):
    for path in (tmp_path, tmp_path / 'a.pth', tmp_path / 'a.safetensors'):
        with pytest.raises(UserError, match='no such weights file'):
            read_weights(path)


def test_tensors_that_hold_no_plain_numbers_are_missing(tmp_path, states):
    for odd in (torch.zeros(8, 3, 7, 7, device='meta'), torch.zeros(8, 3, 7, 7).to_sparse()):
        torch.save(dict(states['resnet18'], **{'conv1.weight': odd}), tmp_path / 'a.pth')
        found = read_weights(tmp_path / 'a.pth')
        assert match(reference('resnet18', 8).state_dict(), found).missing == ('conv1.weight',)


# Matching

@pytest.mark.parametrize('dtype', [torch.uint8, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused(states, dtype):
    odd = states['resnet18'] | {'conv1.weight': torch.zeros(8, 3, 7, 7, dtype=dtype)}
    with pytest.raises(UserError, match=f'{dtype}'):
        load_whole(reference('resnet18', 8), odd, '')
    load_whole(reference('resnet18', 8), {
        k: v.half() if v.is_floating_point() else v for k, v in states['resnet18'].items()}, '')


def test_a_whole_backbone_matches_and_the_classifier_is_unused(states):
    report = match(reference('resnet18', 8).state_dict(), states['resnet18'])
    assert report.whole
    assert report.unused == ('fc.weight', 'fc.bias')
    assert len(report.matched) == 100  # 20 convolutions, 20 batch norms of four
    assert (report.missing, report.wrong_shape, report.foreign) == ((), (), ())
    assert str(report) == ('100 tensors matched, 0 missing, 0 of another shape, 2 unused (fc)')


def test_old_files_without_the_counter_of_batch_norm_are_whole(states):
    old = {k: v for k, v in states['resnet18'].items() if not k.endswith('num_batches_tracked')}
    assert len(old) < len(states['resnet18'])
    assert match(reference('resnet18', 8).state_dict(), old).whole
    old.pop('bn1.running_mean')
    report = match(reference('resnet18', 8).state_dict(), old)
    assert report.missing == ('bn1.running_mean',)
    assert not report.whole


def test_nothing_in_common_is_not_whole():
    assert not match({}, {'a': torch.zeros(1)}).whole


@pytest.mark.parametrize(('file', 'network', 'said'), [
    ('resnet101', 'resnet50', 'it also holds layer3.6.'),
    ('resnet50', 'resnet101', 'missing'),
    ('resnet34', 'resnet18', 'it also holds layer1.2.'), ('resnet18', 'resnet34', 'missing'),
    ('resnet50', 'resnet18', 'of another shape'), ('resnet34', 'resnet50', 'missing')])
def test_another_depth_is_refused_in_both_directions(states, file, network, said):
    module = reference(network, 8)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(UserError, match='did not load whole') as caught:
        load_whole(module, states[file], f'{file}.pth')
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3
    # and nothing of it was loaded
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    load_whole(reference(file, 8), states[file], '')


def test_what_may_be_missing_stays_as_it_is(states):
    weights = {k: v for k, v in states['resnet18'].items() if not k.startswith('layer4.1.bn2.')}
    module = reference('resnet18', 8)
    with pytest.raises(UserError, match='4 missing'):
        load_whole(module, weights, '', ['layer4.1.bn1.*'])
    report = load_whole(module, weights, '', ['layer4.1.bn2.*', 'conv1.weight'])
    assert report.initialised == tuple(
        f'layer4.1.bn2.{name}' for name in ('weight', 'bias', 'running_mean', 'running_var'))
    assert str(report).endswith('2 unused (fc), 4 left as initialised')
    assert torch.equal(module.conv1.weight, weights['conv1.weight'])  # in the file: taken


def test_another_width_is_refused(states):
    with pytest.raises(UserError, match='another shape') as caught:
        load_whole(reference('resnet18', 16), states['resnet18'], 'a.pth')
    assert 'conv1.weight: (8, 3, 7, 7), (16, 3, 7, 7)' in caught.value.what


@pytest.mark.parametrize('prefix', ['module.', 'backbone.', 'module.encoder_q.', 'net.'])
def test_a_wrong_prefix_is_named(states, prefix):
    weights = {prefix + k: v for k, v in states['resnet18'].items()}
    with pytest.raises(UserError, match='did not load whole') as caught:
        load_whole(reference('resnet18', 8), weights, 'a.pth')
    assert repr(prefix) in caught.value.fix


def test_of_two_networks_in_a_file_one_is_named():
    wanted = {'conv.weight': torch.zeros(1)}
    both = {'ema.conv.weight': torch.zeros(1), 'student.conv.weight': torch.zeros(1)}
    assert match(wanted, both).likely_prefix in ('ema.', 'student.')
    assert match(wanted, {'other.weight': torch.zeros(1)}).likely_prefix == ''


def test_below_says_what_there_is():
    module = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match='no key') as caught:
        formats.below({'x.kernel': torch.zeros(1)}, 'y.', module, 'a.pth')
    assert caught.value.fix == "its first key is 'x.kernel'"
