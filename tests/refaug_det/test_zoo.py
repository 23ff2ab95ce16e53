"""The zoo: what is registered is what is loaded, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from refaug_det.backbones import zoo as backbones
from refaug_det.backbones.resnets import spec_of
from refaug_det.errors import UserError
from refaug_det.runs import files

SPEC = spec_of('resnet18', 8)


def tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {'conv1.weight': torch.full((2, 3), value), 'bn1.num_batches_tracked': torch.tensor(7)}


def register(name: str = 'a', value: float = 1.0, **options: object) -> backbones.BackboneCard:
    return backbones.register(name, tensors(value), SPEC, **dict(
        dict(provenance=dict(run='r', seed=0), metrics={'top-1': 80.5, 'top-5': None}), **options))


def equal(found: dict, expected: dict) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[k], expected[k]) and found[k].dtype == expected[k].dtype for k in found)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def test_what_is_registered_is_found(zoo):
    assert backbones.names() == []
    card = register('mixup-0.2_r50')
    assert backbones.names() == ['mixup-0.2_r50']
    assert backbones.card('mixup-0.2_r50') == card == backbones.verify('refaug://mixup-0.2_r50')
    assert (card.spec, card.metrics) == (SPEC, {'top-1': 80.5, 'top-5': None})
    assert equal(backbones.weights('mixup-0.2_r50'), tensors())
    assert not equal(backbones.weights('mixup-0.2_r50'), tensors(2.0))
    assert card.sha256 == files.sha256_of(zoo / 'mixup-0.2_r50' / backbones.WEIGHTS)
    assert sorted(contents(zoo)) == ['mixup-0.2_r50/card.json', 'mixup-0.2_r50/weights.safetensors']


def test_where_the_zoo_is(zoo, monkeypatch):
    assert backbones.zoo_dir() == zoo
    monkeypatch.delenv('REFAUG_DET_ZOO')
    assert backbones.zoo_dir().name == 'zoo'
    assert backbones.zoo_dir() != zoo


def test_the_scheme_is_no_part_of_the_name():
    assert register('refaug://a').name == 'a'
    assert equal(backbones.weights('a'), tensors())


def test_a_folder_may_be_renamed(zoo):
    register('a')
    (zoo / 'a').rename(zoo / 'b')
    assert backbones.names() == ['b']
    assert backbones.verify('b').name == 'b'
    assert equal(backbones.weights('b'), tensors())


def test_weights_of_any_layout_are_kept(zoo):
    base = torch.arange(12.0).reshape(3, 4)
    given = dict(turned=base.T, part=base[1:], same=base, half=base.half(), empty=base[:0],
                 parameter=torch.nn.Parameter(base))
    backbones.register('a', given, SPEC, provenance={}, metrics={})
    assert equal(backbones.weights('a'), {k: v.detach() for k, v in given.items()})


@pytest.mark.parametrize('name', [
    '', '.', '..', '../x', 'a/b', '/a', '~', '-a', '.a', 'a b', 'a\n', 'ä', 'a' * 101, 'a\x00',
    'refaug://', 'refaug://../x', 'refaug://refaug://a', 'a\\b', '*', 'http://x'])
def test_hostile_names_are_refused_everywhere(zoo, tmp_path, name):
    register('a')
    before = contents(tmp_path)
    for call in (register, backbones.card, backbones.verify, backbones.weights):
        with pytest.raises(UserError, match='not a backbone name'):
            call(name)
    assert contents(tmp_path) == before
    assert backbones.plain_name('refaug://a' + '9' * 99) == 'a' + '9' * 99


def test_an_unknown_name_names_the_nearest(zoo):
    with pytest.raises(UserError, match='no backbone') as caught:
        backbones.card('a')
    assert caught.value.fix == 'registered are: none yet'
    register('r50_mixup')
    register('other')
    with pytest.raises(UserError) as caught:
        backbones.weights('r50_mixip')
    assert caught.value.fix == "did you mean 'r50_mixup'?"
    with pytest.raises(UserError) as caught:
        backbones.verify('zzz')
    assert caught.value.fix == 'registered are: other, r50_mixup'


@pytest.mark.parametrize('tamper', [
    lambda path: path.write_bytes(path.read_bytes()[:-1] + b'\x01'),
    lambda path: path.write_bytes(path.read_bytes()[:40]),
    lambda path: path.write_bytes(b''), Path.unlink,
    lambda path: shutil.copy(path.parents[1] / 'other' / path.name, path)])
def test_other_weights_than_the_cards_are_not_loaded(zoo, tamper):
    register('a')
    register('other', 2.0)
    assert backbones.verify('a')
    tamper(zoo / 'a' / backbones.WEIGHTS)
    for call in (backbones.verify, backbones.weights):
        with pytest.raises(UserError, match='not those of the card') as caught:
            call('a')
        assert caught.value.where == str(zoo / 'a' / backbones.WEIGHTS)
    assert backbones.verify('other')


@pytest.mark.parametrize('change', [
    '', '[]', '{}', '"a"', '<html>', lambda card: card.update(schema=2),
    lambda card: card.pop('spec'), lambda card: card['spec'].pop('width'),
    lambda card: card.update(more=1), lambda card: card.update(spec=None)])
def test_a_malformed_card(zoo, change):
    register('a')
    path = zoo / 'a' / backbones.CARD
    card = json.loads(path.read_text())
    if not isinstance(change, str):
        change(card)
    path.write_text(change if isinstance(change, str) else json.dumps(card))
    with pytest.raises(UserError, match='malformed backbone card') as caught:
        backbones.card('a')
    assert caught.value.where == str(path)
    register('a', 2.0, overwrite=True)  # and it can be mended
    assert equal(backbones.weights('a'), tensors(2.0))


def test_a_card_cannot_point_elsewhere(zoo, tmp_path):
    register('a')
    shutil.copytree(zoo / 'a', tmp_path / 'outside')
    path = zoo / 'a' / backbones.CARD
    path.write_text(json.dumps(dict(json.loads(path.read_text()), name='../../outside')))
    (zoo / 'a' / backbones.WEIGHTS).unlink()
    with pytest.raises(UserError, match='not those of the card'):
        backbones.weights('a')


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_weights_that_are_no_numbers_are_refused(zoo, bad):
    broken = tensors()
    broken['conv1.weight'][1, 2] = bad
    with pytest.raises(UserError, match='not finite') as caught:
        backbones.register('a', broken, SPEC, provenance={}, metrics={})
    assert caught.value.where == 'conv1.weight'
    assert backbones.names() == []


def test_a_name_is_not_taken_from_other_weights(zoo):
    first = register('a')
    before = contents(zoo)
    with pytest.raises(UserError, match='other weights under') as caught:
        register('a', 2.0)
    assert '--overwrite' in caught.value.fix
    assert contents(zoo) == before
    again = register('a', provenance=dict(run='again'))  # the same weights: the card is renewed
    assert again.sha256 == first.sha256
    assert backbones.card('a').provenance == dict(run='again')
    register('a', 2.0, overwrite=True)
    assert equal(backbones.weights('a'), tensors(2.0))


@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt])
@pytest.mark.parametrize(('at', 'there'), [
    (backbones.WEIGHTS, False), (backbones.WEIGHTS, True), (backbones.CARD, False),
    (backbones.CARD, True), ('name', False)])  # only a new entry is renamed
def test_a_failure_at_any_step_leaves_no_half_entry(zoo, monkeypatch, at, there, error):
    """Kills are in tests/reliability."""
    register('other')
    if there:
        register('a')
    before, failed = contents(zoo), []

    def fails(real):
        def moves(source, target):
            name = Path(target).name
            kind = backbones.WEIGHTS if name.startswith('weights') else name
            if not failed and at == ('name' if name == 'a' else kind):
                failed.append(name)
                raise error
            real(source, target)
        return moves

    with monkeypatch.context() as patch:
        for name in ('rename', 'replace'):
            patch.setattr(os, name, fails(getattr(os, name)))
        with pytest.raises(error):
            register('a', 3.0, overwrite=True)
    assert failed
    assert contents(zoo) == before  # byte by byte, nothing aside either
    assert not list(zoo.glob('.*'))
    register('a', 3.0, overwrite=True)
    assert equal(backbones.weights('a'), tensors(3.0))


def test_what_is_replaced_while_it_is_read_is_read_again(zoo, monkeypatch):
    register('a')
    read = Path.read_bytes

    def overtaken(path):
        monkeypatch.setattr(Path, 'read_bytes', read)
        register('a', 2.0, overwrite=True)
        return read(path)

    monkeypatch.setattr(Path, 'read_bytes', overtaken)
    assert equal(backbones.weights('a'), tensors(2.0))


def test_two_that_replace_and_one_that_reads_are_never_mixed(zoo):
    register('a', 0.0)
    children = []
    for value in (1.0, 2.0):
        children.append(os.fork())
        if children[-1] == 0:
            code = 1
            try:
                for _ in range(15):
                    register('a', value, overwrite=True)
                code = 0
            finally:
                os._exit(code)
    seen = set()
    while not seen or os.waitpid(children[0], os.WNOHANG) == (0, 0):
        seen.add(float(backbones.weights('a')['conv1.weight'][0, 0]))  # raises if they are mixed
    assert os.waitstatus_to_exitcode(os.waitpid(children[1], 0)[1]) == 0
    assert seen <= {0.0, 1.0, 2.0}
    assert sorted(os.listdir(zoo / 'a')) == [backbones.CARD, backbones.WEIGHTS]


def test_cards_are_plain_json(zoo):
    register('a')
    value = json.loads((zoo / 'a' / backbones.CARD).read_text(), parse_constant=pytest.fail)
    assert value['schema'] == 1
    assert value['spec'] == json.loads(json.dumps(dataclasses.asdict(SPEC)))
