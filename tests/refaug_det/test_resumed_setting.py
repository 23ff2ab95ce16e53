"""A resumed run goes on with the processes and threads it had; older checkpoints are taken."""

from __future__ import annotations

import pytest
import torch

from refaug_det.errors import UserError
from refaug_det.runs import checkpoints


def test_a_run_goes_on_with_as_many_processes(train_tiny, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'run', stop=1)
    monkeypatch.setattr(checkpoints, 'get_world_size', lambda: 2)
    with pytest.raises(UserError, match='had 1 processes, here are 2'):
        train_tiny('--work-dir', 'run', '--resume')


def test_a_run_goes_on_with_its_own_number_of_threads(train_tiny):
    number = torch.get_num_threads()
    try:
        torch.set_num_threads(number + 1)
        with pytest.raises(KeyboardInterrupt):
            train_tiny('--work-dir', 'run', stop=1)
        torch.set_num_threads(number)
        train_tiny('--work-dir', 'run', '--resume')
        assert torch.get_num_threads() == number + 1
    finally:
        torch.set_num_threads(number)


def test_a_checkpoint_of_an_earlier_version_is_taken(train_tiny, straight, same):
    with pytest.raises(KeyboardInterrupt):
        train_tiny('--work-dir', 'run', stop=6)
    path, state = checkpoints.newest_valid('run')
    for later in ('processes', 'threads', 'buffers_by_rank'):
        del state[later]
    torch.save(state, path)
    assert same(train_tiny('--work-dir', 'run', '--resume').weights, straight.weights)


def test_buffers_in_which_processes_differ_are_kept(monkeypatch):
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Module())
    model[1].register_buffer('unkept', torch.zeros(1), persistent=False)
    assert checkpoints.buffers_by_rank(model) == {}

    def gathered(own):
        assert 'unkept' not in ''.join(own)
        return [own, own | {'0.running_mean': own['0.running_mean'] + 3}]

    monkeypatch.setattr(checkpoints, 'get_world_size', lambda: 2)
    monkeypatch.setattr(checkpoints, 'all_gather_object', gathered)
    found = checkpoints.buffers_by_rank(model)
    assert {name: values.tolist() for name, values in found.items()} == {
        '0.running_mean': [[0, 0], [3, 3]]}
