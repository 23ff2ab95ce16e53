"""Runs of the real command lines, each forked from one process that has imported everything.

    server = ForkServer()
    ended = server.run('train_cls', words, log, signal=signal.SIGKILL, after=0.7)

Imports take seconds, a fork milliseconds: so hundreds of runs can be killed. The server
has one thread, so that what it forks is sound; every run is a session of its own, whose
whole process group (the DataLoader's workers too) gets the signal.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LONGEST_S = 120.0  # a run of these tests that takes longer hangs
SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Ended:
    """How the processes of one run ended.

    Attributes:
        codes: exit code of each, or minus the signal that ended it.
        struck: whether the signal ended it; it may come too late.
        seconds: from the start to the end of the last.
        lingered: seconds of them after the signal.
        text: what they printed.
    """

    codes: tuple[int, ...]
    struck: bool
    seconds: float
    lingered: float
    text: str


class ForkServer:
    """The process that has imported everything, as its client sees it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=ROOT, env=os.environ | dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1',
                                            OMP_WAIT_POLICY='passive'))  # two threads, one core

    def run(self, tool: str, words: Sequence[object], log: Path, **options: Any) -> Ended:
        """Run `tools/TOOL.py` to its end, or to the signal's.

        Args:
            tool: name of the script.
            words: its command line.
            log: gets what is printed; anew.
            options: `env`; `threads` of torch; `processes` that speak by gloo; `patches`,
                functions of `patches.py` with their arguments; `signal`, sent `after` so many
                seconds, or when the file `seen` exists, to all, or to the process `hit` alone.
        """
        request = dict(tool=tool, words=[str(word) for word in words], log=str(log), **options)
        self.process.stdin.write(json.dumps(request) + '\n')
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        reply['codes'] = tuple(reply['codes'])
        return Ended(**reply, text=Path(log).read_text(errors='replace'))

    def close(self) -> None:
        self.process.kill()  # nothing runs between two requests
        self.process.wait()


def carry_out(request: dict, tools: dict[str, Callable]) -> dict:
    """Fork the run of a request, strike it, and wait until nothing of it is left."""
    ranks = range(request.get('processes', 1))
    where = [_place(rank, len(ranks), port) for port in [_free_port()] for rank in ranks]
    open(request['log'], 'w').close()
    begun, codes, struck = time.monotonic(), {}, None
    pids = [_fork(request, place, tools) for place in where]
    targets = pids if request.get('hit') is None else [pids[request['hit']]]
    while len(codes) < len(pids):
        for pid in set(pids) - codes.keys():
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[pid] = os.waitstatus_to_exitcode(status)
        now = time.monotonic() - begun
        if struck is None and _due(request, now) and not codes.keys() & set(targets):
            struck = now
            for pid in targets:
                os.killpg(pid, request['signal'])
        if now > LONGEST_S:
            for pid in set(pids) - codes.keys():
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.001)
    seconds = time.monotonic() - begun
    for pid in pids:
        _clear(pid)
    return dict(codes=[codes[pid] for pid in pids], seconds=seconds,
                struck=struck is not None and any(codes[pid] for pid in targets),
                lingered=seconds - struck if struck is not None else 0.0)


def _due(request: dict, now: float) -> bool:
    if request.get('signal') is None:
        return False
    seen = request.get('seen')
    return now >= request.get('after', 0.0) and (seen is None or os.path.exists(seen))


def _place(rank: int, of: int, port: int) -> dict[str, str]:
    """What torchrun would put into the environment."""
    return {} if of == 1 else dict(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(of), LOCAL_WORLD_SIZE=str(of),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def _fork(request: dict, place: dict, tools: dict[str, Callable]) -> int:
    pid = os.fork()
    if pid:
        while os.getpgid(pid) != pid:  # until then a signal to its group would miss it
            time.sleep(0.0002)
        return pid
    code = 1
    try:
        os.setsid()
        log = os.open(request['log'], os.O_WRONLY | os.O_APPEND)
        for descriptor in (0, 1, 2):
            os.dup2(log, descriptor)
        code = _run(request, place, tools)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(request: dict, place: dict, tools: dict[str, Callable]) -> int:
    import patches
    import torch

    os.environ.update(request.get('env', {}) | place)
    os.fsync = lambda descriptor: None  # power is not cut here, and a busy disk takes seconds
    torch.set_num_threads(request.get('threads', 1))
    ends = [getattr(patches, name)(*arguments) for name, *arguments in request.get('patches', ())]
    code = tools[request['tool']](request['words'])
    for finish in filter(None, ends):
        finish()
    return code


def _clear(group: int) -> None:
    """End and reap what is left of a process group: workers whose run was killed."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        while True:
            os.waitpid(-group, 0)
    except ChildProcessError:
        pass


def serve() -> None:
    """Import everything, then carry out a request a line until the client closes."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # reap the workers of killed runs
    replies = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what imports print is no reply
    import importlib

    for name in ('classification.train', 'detection.train', 'setuptools', 'matplotlib.figure',
                 'matplotlib.backends.backend_agg', 'torch.utils.serialization',
                 'safetensors.torch'):
        importlib.import_module(name)
    # mmengine formats each config three times for its log: a third of so short a run
    importlib.import_module('yapf.yapflib.yapf_api').FormatCode = lambda text, **_: (text, False)
    tools = {}
    for name in ('train_cls', 'train_det'):
        spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        tools[name] = module.main
    assert len(os.listdir('/proc/self/task')) == 1, 'a fork of several threads may hang'
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line), tools)), file=replies, flush=True)


if __name__ == '__main__':
    serve()
