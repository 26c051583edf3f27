"""Marks of smoke runs and the line of a caption."""

from dvae import plotting


def test_smoke_mark_keeps_clear_of_the_axes():
    figure = plotting.mark_smoke(plotting.plot_score_scatter([1, 2], [0.5, 0.2]))
    figure.draw_without_rendering()
    (text,) = figure.texts
    assert text.get_text() == "smoke run: not evidence"
    box = text.get_window_extent()
    assert not box.overlaps(figure.axes[0].get_tightbbox())
    assert figure.bbox.contains(box.x0, box.y0)
    assert figure.bbox.contains(box.x1, box.y1)


def test_caption_says_where_a_result_comes_from():
    attributes = {"profile": "laptop", "trials": 50, "hardware": "2 cores", "commit": "0123456789"}
    text = plotting.caption_source(attributes)
    assert text == "Profile laptop, 50 trials, 2 cores, commit 0123456."
    assert plotting.caption_source({"profile": "smoke"}) == "Profile smoke (not evidence)."
    several = {"commit": "0123456789-dirty; not in a git checkout", "trials": "1"}
    text = plotting.caption_source(several)
    assert text == "1 trial, commit 0123456-dirty; not in a git checkout."
    assert plotting.caption_source({}) == "Origin not recorded."
