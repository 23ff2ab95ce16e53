"""`refaug-det`: exit codes, few lines on stderr, never a traceback."""

from __future__ import annotations

import json

import pytest
import torch

from refaug_det import __version__, cli
from refaug_det.backbones import zoo as backbones
from refaug_det.backbones.resnets import build


@pytest.fixture
def refaug(capsys):
    """`refaug(*words)` is (exit code, stdout, stderr) of a command line."""
    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        return (code, *capsys.readouterr())
    return run


@pytest.fixture
def source(tmp_path):
    """A weights file of a ResNet-18 of width 8."""
    torch.manual_seed(0)
    torch.save({f'module.{k}': v for k, v in build(18, 8, 5).state_dict().items()},
               tmp_path / 'r18.pth')
    return tmp_path / 'r18.pth'


@pytest.fixture
def add(refaug, source):
    def run(name: str = 'mine', *more: object) -> tuple[int, str, str]:
        return refaug('backbone', 'add', name, '--from', source, *more)
    return run


def test_add_list_show_verify(refaug, add):
    assert refaug('backbone', 'list')[:2] == (0, f'no backbones yet in {backbones.zoo_dir()}; '
                                              'tools/train_cls.py registers them\n')
    code, out, err = add()
    assert (code, err) == (0, '')
    assert out.splitlines()[3:] == [
        'mapping: module.* -> * (120 tensors)',
        'matched: 100 tensors, and 20 counters of batch norms', 'unused: module.fc (2)',
        'missing: none', f'registered mine, sha256 {backbones.card("mine").sha256[:12]}']
    code, out, err = refaug('backbone', 'list')
    assert (code, err) == (0, '')
    assert all(word in out for word in ('mine', 'resnet18 w8', backbones.card('mine').sha256[:12]))
    listed = json.loads(refaug('backbone', 'list', '--json')[1])
    assert [card['name'] for card in listed] == ['mine']
    for name in ('mine', 'refaug://mine'):
        code, out, _ = refaug('backbone', 'show', name, '--json')
        assert code == 0
        assert json.loads(out) == listed[0]
        lines = refaug('backbone', 'show', name)[1].splitlines()
        assert {'name: mine', 'spec.architecture: resnet18', 'spec.out_channels: 8 16 32 64'} <= {
            *lines}
    assert refaug('backbone', 'verify')[:2] == (0, 'mine: whole\n')
    assert refaug('backbone', 'verify', 'mine')[:2] == (0, 'mine: whole\n')


def test_json_of_add_and_verify(refaug, add):
    code, out, err = add('mine', '--json')
    told = json.loads(out)
    assert (code, err) == (0, '')
    assert told['card'] == json.loads(refaug('backbone', 'show', 'mine', '--json')[1])
    assert (told['matched'], told['unused'], told['initialised']) == (100, {'module.fc': 2}, [])
    add('yours')
    told = json.loads(refaug('backbone', 'verify', '--json')[1])
    assert [row['name'] for row in told] == ['mine', 'yours']
    assert told[0] == dict(name='mine', sha256=backbones.card('mine').sha256)
    assert json.loads(refaug('backbone', 'verify', 'yours', '--json')[1]) == told[1:]


def test_a_card_that_holds_nan_is_refused(refaug, add):
    add()
    path = backbones.zoo_dir() / 'mine' / backbones.CARD
    path.write_text(json.dumps({**json.loads(path.read_text()), 'metrics': {'a': float('inf')}}))
    for words in (('list',), ('list', '--json'), ('show', 'mine')):
        code, out, err = refaug('backbone', *words)
        assert (code, out) == (2, '')
        assert 'Infinity in it' in err


def test_options_reach_the_card(add):
    add('bgr', '--channel-order', 'BGR', '--mean', 103.5, 116.3, 123.7, '--std', 1, 1, 1,
        '--architecture', 'resnet18', '--width', 8, '--prefix', 'module.', '--style', 'pytorch')
    spec = backbones.card('bgr').spec
    assert (spec.channel_order, spec.mean, spec.std) == ('BGR', (103.5, 116.3, 123.7), (1, 1, 1))


def test_what_may_be_missing_is_listed(refaug, source, tmp_path):
    state = {k: v for k, v in torch.load(source).items() if '.layer4.1.bn2.' not in k}
    torch.save(state, tmp_path / 'part.pth')
    words = ('backbone', 'add', 'part', '--source', tmp_path / 'part.pth')
    assert '4 missing' in refaug(*words)[2]
    code, out, _ = refaug(*words, '--allow-missing', 'layer4.1.bn2.weight', 'layer4.1.bn2.bias',
                          'layer4.1.bn2.running_*')
    assert code == 0
    assert 'missing: layer4.1.bn2.weight, layer4.1.bn2.bias' in out
    assert len(backbones.card('part').provenance['initialised']) == 4


def test_names_in_a_file_cannot_steer_the_terminal(refaug, source, tmp_path):
    state = torch.load(source) | {'\x1b[31m\n.x': torch.zeros(1)}
    torch.save({'state_dict': state, '\x1b]0;x\x07': 1}, tmp_path / 'a.pth')
    code, out, _ = refaug('backbone', 'add', 'mine', '--from', tmp_path / 'a.pth')
    assert code == 0
    assert '\x1b' not in out
    assert '\\x1b[31m\\n.x (1)' in out
    assert len(out.splitlines()) == 9


def test_a_long_name_is_not_cut_in_a_pipe(refaug, add):
    add('n' * 100)
    assert 'n' * 100 in refaug('backbone', 'list')[1]


def test_what_a_card_says_is_shown_as_text(refaug, add):
    add()
    path = backbones.zoo_dir() / 'mine' / backbones.CARD
    card = json.loads(path.read_text())
    card['provenance'] = dict(seed='\x1b[31m', phase='[red]x[/red]')
    card['metrics'] = {'top-1': '[blink]'}
    path.write_text(json.dumps(card))
    code, out, _ = refaug('backbone', 'list')
    assert code == 0
    assert '\x1b' not in out
    assert '[red]x[/red]' in out
    assert '[blink]' in out


def test_verify_finds_changed_weights(refaug, add):
    add()
    path = backbones.zoo_dir() / 'mine' / backbones.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b'\x7f')
    for words in (('verify',), ('verify', 'mine')):
        code, out, err = refaug('backbone', *words)
        assert (code, out) == (2, '')
        assert 'sha256 differs' in err
        assert refaug('backbone', *words, '--json')[:2] == (2, '')


@pytest.mark.parametrize(('words', 'said'), [
    (('bogus',), 'bogus'), (('--bogus',), '--bogus'), (('backbone', 'bogus'), 'bogus'),
    (('backbone', 'list', '--bogus'), '--bogus'), (('backbone', 'list', 'x'), 'x'),
    (('backbone', 'show'), 'NAME'), (('backbone', 'show', 'a', 'b'), 'b'),
    (('backbone', 'show', 'nope'), "no backbone 'nope'"),
    (('backbone', 'show', '../x'), 'not a backbone name'),
    (('backbone', 'show', ''), 'not a backbone name'),
    (('backbone', 'show', 'a\nb\x1b[0m'), 'not a backbone name'),
    (('backbone', 'verify', 'nope'), "no backbone 'nope'"),
    (('backbone', 'add', 'x'), '--from'),
    (('backbone', 'add', 'x', '--source', '/no/file', '--architecture', 'resnet50'), '/no/file'),
    (('compare',), 'PATHS'), (('compare', '/no/such/folder'), '/no/such/folder')])
def test_bad_input_is_said_in_three_lines_with_code_2(refaug, words, said):
    code, out, err = refaug(*words)
    assert (code, out) == (2, '')
    assert len(err.splitlines()) <= 3
    assert err.startswith('error: ')
    assert said.lower() in err.lower()
    assert 'Traceback' not in err


@pytest.mark.parametrize(('more', 'said'), [
    (('--width', 'abc'), '--width'), (('--width', 16), 'another shape'),
    (('--prefix', 'net.'), "'module.'"), (('--architecture', 'resnet34'), 'did not load whole'),
    (('--format', 'x'), 'unknown format'),
    (('--from', 'timm:/x'), 'no such weights file'), (('--style', 'x'), "style 'x'"),
    (('--architecture', 'vgg'), 'unknown architecture'), (('--std', 0, 1, 1), 'positive'),
    (('--mean', 1), '--mean'), (('--channel-order', 'GBR'), 'GBR'), (('--bogus',), '--bogus')])
def test_bad_options_of_add(refaug, source, more, said):
    words = {'--from': (source,), '--architecture': ('resnet18',), '--width': (8,),
             '--prefix': ('module.',), more[0]: more[1:]}
    code, out, err = refaug('backbone', 'add', 'mine', *(
        word for option, values in words.items() for word in (option, *values)))
    assert (code, out) == (2, '')
    assert len(err.splitlines()) <= 3
    assert said in err
    assert backbones.names() == []


def test_help_and_version(refaug):
    for words in ((), ('--help',)):
        code, out, err = refaug(*words)
        assert (code, err) == (0, '')
        assert 'backbone' in out
        assert 'compare' in out
    code, out, _ = refaug('backbone', '--help')
    assert code == 0
    assert all(command in out for command in ('add', 'list', 'show', 'verify'))
    assert refaug('--version')[:2] == (0, f'{__version__}\n')


def test_an_interrupt_has_its_own_code(refaug, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(backbones, 'names', interrupted)
    assert refaug('backbone', 'list') == (130, '', 'interrupted\n')


def test_a_command_that_cannot_be_loaded_spoils_no_other(refaug, monkeypatch):
    from importlib.metadata import EntryPoint
    broken = EntryPoint('broken', 'nowhere_at_all:command', cli.GROUP)
    whole = EntryPoint('group.listed', 'refaug_det.backbones.commands:app', cli.GROUP)
    monkeypatch.setattr(cli, 'entry_points', lambda group: (broken, whole, whole))  # two copies
    code, out, err = refaug('group', 'listed', 'list')
    assert code == 0
    assert 'no backbones yet' in out
    assert err.startswith("warning: no command 'broken', nowhere_at_all:command cannot be loaded")
    assert len(err.splitlines()) == 1
    code, _, err = refaug('broken')
    assert code == 2


def test_two_commands_of_one_name_spoil_no_other(refaug, monkeypatch):
    from importlib.metadata import EntryPoint
    first, second = (EntryPoint('backbone', f'refaug_det.backbones.commands:{name}', cli.GROUP)
                     for name in ('app', 'list_'))
    monkeypatch.setattr(cli, 'entry_points', lambda group: (first, second))
    code, out, err = refaug('--version')
    assert (code, out) == (0, f'{__version__}\n')
    assert "no command 'backbone'" in err
    assert len(err.splitlines()) == 1
