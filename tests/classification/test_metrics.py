"""Accuracy and cross entropy against counting by hand and against torch."""

import math

import pytest
import torch
import torch.nn.functional as F

from classification.metrics import RefAugClassificationMetric, sample_scores

KEYS = {'top-1', 'cross entropy'}


def by_hand(logits, labels):
    """Counts one by one: a class that is as good as the true one counts as better."""
    hits, loss = {1: 0, 5: 0}, 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        before = sum(other >= row[label] or math.isnan(other) for number, other in enumerate(row)
                     if number != label)
        if math.isnan(row[label]):
            before = len(row) - 1
        for k in hits:
            hits[k] += before < k
        largest = max(row)
        loss += largest + math.log(sum(math.exp(x - largest) for x in row)) - row[label]
    return {'top-1': 100 * hits[1] / len(labels), 'top-5': 100 * hits[5] / len(labels),
            'cross entropy': loss / len(labels)}


def measured(logits, labels, size=None, parts=3):
    """Through the metric, in several batches."""
    metric = RefAugClassificationMetric()
    for some, true in zip(logits.chunk(parts), labels.chunk(parts), strict=True):
        metric.process(None, [dict(scores=row) for row in sample_scores(some, true)])
    return metric.evaluate(size or len(labels))


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('ties', [False, True])
def test_metrics_are_those_counted_by_hand(seed, ties):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(60, 9, generator=generator)
    if ties:
        logits = logits.round()
    labels = torch.randint(9, (60,), generator=generator)
    expected = by_hand(logits, labels)
    found = measured(logits, labels)
    assert found == pytest.approx(expected, rel=1e-12)
    assert found['cross entropy'] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    others = measured(logits, (labels + 1) % 9)
    assert abs(others['cross entropy'] - expected['cross entropy']) > 1e-3


def test_ties_count_against_the_classifier():
    labels = torch.arange(12) % 6
    assert measured(torch.zeros(12, 6), labels)['top-1'] == 0
    assert measured(torch.zeros(12, 6), labels)['top-5'] == 0
    ahead = torch.zeros(12, 6).scatter(1, labels[:, None], 1e-6)
    assert measured(ahead, labels)['top-1'] == 100


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_diverged_network_is_never_right(value):
    labels = torch.arange(12) % 8
    found = measured(torch.full((12, 8), value), labels)
    assert (found['top-1'], found['top-5']) == (0, 0)
    assert math.isnan(found['cross entropy'])
    logits = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    logits[0, 3] = math.nan
    assert sample_scores(logits, torch.tensor([3]))[0, 0] == 7


def test_scores_of_single_samples():
    scores = sample_scores(torch.tensor([[2.0, 0.0, 1.0]]).expand(3, 3), torch.arange(3))
    assert scores.dtype == torch.float64
    assert scores[:, 0].tolist() == [0, 2, 1]
    assert scores[:, 2].tolist() == [3, 3, 3]
    assert (-scores[:, 1]).exp().sum() == pytest.approx(1)


@pytest.mark.parametrize(('classes', 'keys'), [(5, KEYS), (6, KEYS | {'top-5'})])
def test_top_5_is_left_out_where_it_says_nothing(classes, keys):
    logits = torch.randn(12, classes, generator=torch.Generator().manual_seed(0))
    assert set(measured(logits, torch.arange(12) % classes)) == keys


def test_samples_that_fill_up_the_last_batch_are_not_counted():
    labels = torch.zeros(12, dtype=torch.long)
    logits = torch.zeros(12, 6)
    logits[:9, 0] = 1  # the last three are repetitions of other ranks' samples
    assert measured(logits, labels, size=9)['top-1'] == 100
    assert measured(logits, labels, size=12)['top-1'] == 75
