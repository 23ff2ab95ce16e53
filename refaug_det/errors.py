"""Errors that are written for the person who ran the command."""

from __future__ import annotations

import argparse
import errno
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

EXIT_OK = 0
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, a limit on a file's size
LONGEST = 1200  # characters of a line; more would bury the other two


class UserError(Exception):
    """Bad input: a config, a file or an option that a person can mend.

    Args:
        what: one sentence, what is wrong.
        where: the file, object or key it concerns.
        fix: what to do about it.
    """

    def __init__(self, what: str, where: object = '', fix: str = '') -> None:
        if what.startswith('Caught UserError in DataLoader worker'):
            what, where, fix = _from_worker(what)
        self.what, self.where, self.fix = what, str(where), fix
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f'error: {_one_line(self.what)}']
        if self.where:
            lines.append(f'  where: {_one_line(self.where)}')
        if self.fix:
            lines.append(f'  fix: {_one_line(self.fix)}')
        return '\n'.join(lines)


class ArgumentParser(argparse.ArgumentParser):
    """argparse's, except that a wrong word is three lines and not the whole usage.

    Options are written in full: what a run records of its command is what was meant.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(message, 'command line', f'see {self.prog} --help')


def count(text: str) -> int:
    """A whole number of 1 or more, for `ArgumentParser`."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{value} is not 1 or more')
    return value


def exits_cleanly(main: Callable[..., int | None]) -> Callable[..., int]:
    """Turn a `UserError` into at most three lines on stderr and exit code 2."""

    @functools.wraps(main)
    def guarded(*args: object, **kwargs: object) -> int:
        try:
            return main(*args, **kwargs) or 0
        except UserError as error:
            _tell(error)
            return EXIT_USER_ERROR
        except BrokenPipeError:  # the reader of our output has gone, as `| head` does
            sys.stderr.close()
            return EXIT_OK
        except OSError as error:
            where = error.filename2 or error.filename  # of a rename, where to
            if where is None:
                raise
            fix = ('make room, and give the same command again; a run goes on with --resume'
                   if error.errno in FULL else
                   'check the path, its permissions, and the space that is left')
            _tell(UserError(f'cannot read or write: {error.strerror or error}', where, fix))
            return EXIT_USER_ERROR
        except KeyboardInterrupt as error:
            if os.environ.get('RANK', '0') == '0':  # of several processes, one says it
                print(f'interrupted: {error}' if str(error) else 'interrupted', file=sys.stderr)
            return getattr(error, 'exit_code', EXIT_INTERRUPTED)

    return guarded


def _tell(error: UserError) -> None:
    """On stderr; a process of torchrun tells torchrun, so that it is said once for all."""
    file = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if file:
        with open(file, 'w', encoding='utf-8') as handle:
            json.dump({'message': str(error), 'timestamp': int(time.time())}, handle)
    else:
        print(error, file=sys.stderr)


def _from_worker(text: str) -> tuple[str, str, str]:
    """torch rebuilds a worker's exception from its traceback; take the three parts out again."""
    parts = {'error': '', 'where': '', 'fix': ''}
    for line in text.rpartition('UserError: ')[2].splitlines():
        name, _, value = line.strip().partition(': ')
        if name in parts:
            parts[name] = value
    return parts['error'] or text, parts['where'], parts['fix']


def _one_line(text: str) -> str:
    """One line in which nothing can steer the terminal: names come from files of others."""
    line = ' '.join(text.split())
    if len(line) > LONGEST:
        line = f'{line[:LONGEST - 200]} ... {line[-195:]}'
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
