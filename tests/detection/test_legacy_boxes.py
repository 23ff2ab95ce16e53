"""Overlaps of boxes that are x2 - x1 + 1 pixels wide."""

from __future__ import annotations

import pytest
import torch

import detection.train  # noqa: F401  (mmdet)
from detection.legacy_boxes import RefAugLegacyOverlaps, legacy_overlaps

A = torch.tensor([[0.0, 0.0, 10.0, 10.0], [10.0, 10.0, 20.0, 20.0], [32.0, 32.0, 38.0, 42.0]])
B = torch.tensor([[0.0, 0.0, 10.0, 20.0], [0.0, 10.0, 10.0, 19.0], [10.0, 10.0, 20.0, 20.0]])


def by_pixels(a, b):
    """Counted: a box is the set of its pixels, both corners included."""
    def pixels(box):
        x1, y1, x2, y2 = map(int, box.tolist())
        return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}

    return torch.tensor([[len(pixels(x) & pixels(y)) / len(pixels(x) | pixels(y)) for y in b]
                         for x in a])


def test_they_are_shares_of_pixels():
    found = legacy_overlaps(A, B)
    torch.testing.assert_close(found, by_pixels(A, B))
    torch.testing.assert_close(found[0, 0], torch.tensor(0.5238), atol=1e-4, rtol=0)  # of v1's doc
    assert (found - legacy_overlaps(A, B + torch.tensor([0, 0, -1, -1]))).abs().max() > 0.01


@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_aligned_is_the_diagonal_and_scores_are_ignored(mode):
    whole = RefAugLegacyOverlaps()(A, B, mode)
    torch.testing.assert_close(legacy_overlaps(A, B, mode, is_aligned=True), whole.diagonal())
    scored = torch.cat([A, torch.rand(3, 1)], dim=1)
    assert torch.equal(RefAugLegacyOverlaps()(scored, B, mode), whole)
    assert whole.diagonal()[0] == (121 / 231 if mode == 'iou' else 1.0)


def test_no_boxes():
    assert legacy_overlaps(A[:0], B).shape == (0, 3)
    assert legacy_overlaps(A, B[:0]).shape == (3, 0)
