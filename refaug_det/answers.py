"""What a command answers: words for people, or one JSON document for programs."""

from __future__ import annotations

import functools
import json as json_format
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any


def print_json(value: Any) -> None:
    """Print one strict JSON document.

    Args:
        value: JSON-able, without NaN or infinity.
    """
    print(json_format.dumps(value, indent=2, allow_nan=False))


@contextmanager
def aside(json: bool) -> Iterator[None]:
    """Send to stderr what is printed meanwhile, if stdout is for JSON."""
    with redirect_stdout(sys.stderr) if json else nullcontext():
        yield


def document(command: Callable[..., Any]) -> Callable[..., int]:
    """A command made of a function that prints words and returns a JSON-able value.

    With the function's option `--json` the value is printed, and the words go to stderr. The
    command returns exit code 0.
    """

    @functools.wraps(command)
    def answered(*args: Any, json: bool = False, **options: Any) -> int:
        with aside(json):
            value = command(*args, json=json, **options)
        if json:
            print_json(value)
        return 0

    return answered
