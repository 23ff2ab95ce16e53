"""Errors for people: at most three lines, an exit code, and nothing else hidden."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from refaug_det.errors import UserError, exits_cleanly


def test_three_lines():
    assert str(UserError('what is wrong', 'a/file', 'mend it')) == (
        'error: what is wrong\n  where: a/file\n  fix: mend it')
    assert str(UserError('what is wrong')) == 'error: what is wrong'


@pytest.mark.parametrize('text', ['a\nb', 'a\r\n\tb  ', 'a\x1b[31mb', 'a\x07\x00b', 'a\u202eb',
                                  'a\u2028b', 'a\udcffb'])
def test_nothing_in_a_name_adds_a_line_or_steers_the_terminal(text):
    shown = str(UserError(text, text, text))
    assert shown.count('\n') == 2
    assert all(character.isprintable() for character in shown if character != '\n')
    assert 'a' in shown
    assert 'b' in shown


def test_letters_of_all_alphabets_stay():
    assert str(UserError('Größe 猫 — ½')) == 'error: Größe 猫 — ½'


@pytest.mark.parametrize('way', [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_it_survives_the_way_between_processes(way):
    error = UserError('what', 'where', 'fix')
    assert str(way(error)) == str(error)


class Broken(Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise self.error


def of_a_worker(error: Exception) -> Exception:
    """What becomes of an error on its way out of a worker."""
    batches = iter(DataLoader(Broken(error), num_workers=1))
    try:
        next(batches)
    except Exception as found:
        return found
    finally:
        batches._shutdown_workers()  # left to the garbage collector, it takes torch 5 s


def test_it_survives_a_worker_of_a_dataloader():
    error = UserError('cannot decode: a.jpg', 'data/a.jpg', 'replace the file: see a')
    assert str(of_a_worker(error)) == str(error)
    other = of_a_worker(ValueError('x'))  # comes as torch sends it
    assert isinstance(other, ValueError)
    assert 'Caught ValueError' in str(other)


@pytest.mark.parametrize(('error', 'code', 'lines'), [
    (UserError('a', 'b', 'c'), 2, 3), (KeyboardInterrupt(), 130, 1)])
def test_exit_codes(capsys, error, code, lines):
    @exits_cleanly
    def main():
        raise error

    assert main() == code
    out, err = capsys.readouterr()
    assert out == ''
    assert len(err.splitlines()) == lines


def test_exit_codes_of_success():
    assert exits_cleanly(lambda: None)() == 0
    assert exits_cleanly(lambda: 3)() == 3
    assert exits_cleanly(lambda a, b=1: a + b)(1, b=2) == 3


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exits_cleanly(lambda: 1 / 0)()


@pytest.mark.parametrize('path', ['nowhere/at/all.txt', '/proc/nothing'])
def test_a_path_that_cannot_be_used_is_three_lines(capsys, path):
    assert exits_cleanly(lambda: len(Path(path).read_text()))() == 2
    err = capsys.readouterr().err
    assert path in err
    assert len(err.splitlines()) == 3


def test_an_error_of_the_system_without_a_path_is_not_hidden():
    def fail():
        raise OSError(5, 'Input/output error')

    with pytest.raises(OSError, match='Input/output'):
        exits_cleanly(fail)()
