"""Commands side by side: as many at a time as asked, all stopped when one fails."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from refaug_det.errors import UserError
from refaug_det.runs import jobs
from refaug_det.runs.jobs import (
    Eta,
    Job,
    last_line,
    python,
    reason,
    run_jobs,
    share_done,
    start,
)


@pytest.fixture
def job(tmp_path):
    def make(name: str, code: str, **options: object) -> Job:
        return Job(name, python('-S', '-c', code), tmp_path / 'logs' / f'{name}.log', **options)
    return make


def run(made, parallel: int = 2, **options: object) -> Eta:
    eta = Eta(sum(one.weight for one in made))
    run_jobs(made, parallel=parallel, environment=options.pop('environment', os.environ), eta=eta,
             **options)
    return eta


def test_all_jobs_are_run_and_logged(job, capsys):
    made = [job(name, f'print("first"); print("last of {name}")', weight=2.0) for name in 'abc']
    eta = run(made)
    assert eta.done == eta.total == 6
    assert [one.log.read_text() for one in made] == [f'first\nlast of {n}\n' for n in 'abc']
    out = capsys.readouterr().out
    assert all(f'done: {name} (last of {name})' in out for name in 'abc')
    run([])


@pytest.mark.parametrize('parallel', [1, 2])
def test_no_more_run_at_a_time_than_asked(job, tmp_path, parallel):
    code = (f'import os, time; here = {str(tmp_path)!r} + "/now"; os.makedirs(here, exist_ok=True)'
            '; mine = f"{here}/{os.getpid()}"; open(mine, "w").close(); time.sleep(0.3)'
            '; print(len(os.listdir(here))); os.remove(mine)')
    made = [job(name, code) for name in 'abc']
    run(made, parallel)
    assert max(int(last_line(one.log)) for one in made) == parallel


def test_the_environment_is_the_one_given(job):
    one = job('a', 'import os; print(os.environ.get("MARK"), os.environ.get("HOME"))')
    run([one], environment={'MARK': 'x'})
    assert last_line(one.log) == 'x None'


def test_a_job_adds_to_its_log_and_is_out_of_reach_of_ctrl_c(job):
    one = job('a', 'import os; print(os.getsid(0) == os.getpid())')
    for _ in range(2):
        assert start(one, os.environ).wait() == 0
    assert one.log.read_text() == 'True\nTrue\n'


def test_a_job_inherits_what_it_is_given(job, tmp_path):
    with open(tmp_path / 'file', 'w') as file:
        one = job('a', f'import os; os.write({file.fileno()}, b"x")')
        assert start(one, os.environ, [file.fileno()]).wait() == 0
        assert start(one, os.environ).wait() == 1  # closed for it
    assert (tmp_path / 'file').read_text() == 'x'


def test_a_failure_stops_the_others_and_names_the_log(job, tmp_path):
    fails = job('a', 'print("error: no such image"); raise SystemExit(2)')
    others = [job('b', f'import time; open({str(tmp_path / "b")!r}, "w").write(str('
                       f'__import__("os").getpid())); time.sleep(60)'), job('c', 'print("ran")')]
    with pytest.raises(UserError, match='a failed: error: no such image') as caught:
        run([others[0], fails, others[1]])
    assert caught.value.where == str(fails.log)
    assert not others[1].log.exists()  # and c was not begun
    with pytest.raises(ProcessLookupError):  # b was not left running
        os.kill(int((tmp_path / 'b').read_text()), 0)


@pytest.mark.parametrize(('numbers', 'code'), [([signal.SIGTERM], 143),
                                               ([signal.SIGINT, signal.SIGINT], 130)])
def test_the_jobs_end_before_the_one_who_waits_for_them(job, tmp_path, numbers, code):
    deaf = 'signal.signal(signal.SIGTERM, signal.SIG_IGN); ' if len(numbers) > 1 else ''
    one = job('a', f'import os, signal, time; {deaf}'
                   f'open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid())); time.sleep(60)')

    def press():
        while not (tmp_path / 'pid').is_file() or not (tmp_path / 'pid').read_text():
            time.sleep(0.01)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.6)  # it is waiting for the job by then

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        run([one])
    presser.join()
    assert caught.value.exit_code == code
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / 'pid').read_text()), 0)


def test_a_job_that_cannot_start_stops_the_others(job, tmp_path):
    bad = Job('bad', (str(tmp_path / 'no-program'),), tmp_path / 'bad.log')
    with pytest.raises((UserError, OSError)):
        run([job('a', 'import time; time.sleep(60)'), bad])


def test_progress_is_said_now_and_then(job, capsys):
    code = 'import time; print("  epoch 1/2: top-1 5", flush=True); time.sleep(0.5)'
    run([job('a', code)], every_s=0.0)
    line = next(line for line in capsys.readouterr().out.splitlines() if ' left]' in line
                and 'epoch' in line)
    assert 'a: epoch 1/2: top-1 5' in line


def test_eta(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(jobs.time, 'monotonic', lambda: now[0])
    eta = Eta(4.0)
    assert eta.left({}) is None
    now[0] += 30
    assert eta.left({}) is None
    assert eta.left({'a': 0.5, 'b': 0.5}) == pytest.approx(90)  # 1 of 4 in 30 s
    eta.done = 3.0
    assert eta.left({}) == pytest.approx(10)


@pytest.mark.parametrize(('output', 'share'), [
    ('', 0), ('starting', 0), ('  epoch 1/4 loss 2', 0.125), ('epoch 2/4: top-1 5', 0.5),
    ('epoch 1/4: x\n  epoch 2/4 loss 1.3', 0.375), ('epoch 4/4: x\nsaved', 1.0)])
def test_share_done(output, share):
    assert share_done(output) == share


def test_last_line(tmp_path):
    log = tmp_path / 'log'
    assert last_line(log) == ''
    log.write_bytes(b'one\n  two\xff \n\n \n')
    assert last_line(log) == 'two\ufffd'


@pytest.mark.parametrize(('text', 'why'), [
    ('one\nerror: no such image\n  where: a\n  fix: mend\n', 'error: no such image'),
    ('ValueError: old\nresumed\nRuntimeError: loss is nan\n(shutting down)', 'RuntimeError: '
     'loss is nan'), ('one\nKilled\n\n', 'Killed'), ('', '')])
def test_reason(tmp_path, text, why):
    (tmp_path / 'log').write_text(text)
    assert reason(tmp_path / 'log') == why
