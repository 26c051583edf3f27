"""Draws of labelled samples."""

from __future__ import annotations

from dvae.experiments.labelling import draw_labels


def test_label_sets_differ_between_runs_and_are_drawn_without_repeats():
    first, second = draw_labels(20, 0, 512), draw_labels(20, 1, 512)
    assert len(set(first)) == 20
    assert set(first) != set(second)
    assert draw_labels(20, 0, 512).tolist() == first.tolist()
