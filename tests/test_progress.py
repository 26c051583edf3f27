"""Progress in a log: lines at intervals; on a terminal: one line, drawn over itself."""

from __future__ import annotations

import io
import sys

import pytest

from dvae.progress import INTERVAL, progress_bar


class Stream(io.StringIO):
    """A terminal, or what a log is written to."""

    def __init__(self, terminal: bool):
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still between ``clock.append(seconds)``."""
    passed = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: sum(passed))
    return passed


def shown(monkeypatch, clock, terminal: bool, steps: int, **options) -> str:
    """What a bar of steps of one second writes."""
    stream = Stream(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(total=steps, desc="work", unit="step", **options) as bar:
        for step in range(steps):
            clock.append(1.0)
            bar.set_postfix(rate=step, refresh=False)
            bar.update(1)
    return stream.getvalue()


def test_a_log_gets_a_line_every_half_minute(monkeypatch, clock):
    text = shown(monkeypatch, clock, terminal=False, steps=100)
    assert "\r" not in text and text.endswith("\n") and "\n\n" not in text
    counts = [int(line.split("% ")[1].split("/")[0]) for line in text.splitlines()]
    assert counts == [0, 30, 60, 90, 100]
    assert text.splitlines()[2].startswith("work: 60% 60/100 [01:00<")
    assert text.splitlines()[2].endswith(", rate=59]")


def test_a_log_gets_no_line_of_what_is_short_and_not_kept(monkeypatch, clock):
    short = int(INTERVAL) - 1
    assert shown(monkeypatch, clock, terminal=False, steps=short, leave=False) == ""
    text = shown(monkeypatch, clock, terminal=False, steps=2 * short, leave=False)
    assert text.count("\n") == 1 and "\r" not in text
    assert shown(monkeypatch, clock, terminal=False, steps=short, disable=True) == ""


def test_a_log_keeps_apart_what_runs_inside(monkeypatch):
    stream = Stream(terminal=False)
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in progress_bar(range(2), desc="outer"):
        list(progress_bar(range(3), desc="inner"))
    names = [line.partition(":")[0] for line in stream.getvalue().splitlines()]
    assert names == ["outer", "inner", "inner", "inner", "inner", "outer"]


def test_a_terminal_gets_one_line(monkeypatch, clock):
    text = shown(monkeypatch, clock, terminal=True, steps=100)
    assert text.count("\n") == 1 and text.count("\r") == 102  # empty, at every step, and closed
    assert "100/100" in text.splitlines()[-1]


def test_a_notebook_gets_a_bar(monkeypatch, clock):
    monkeypatch.setattr(Stream, "__module__", "ipykernel.iostream")
    assert "\r" in shown(monkeypatch, clock, terminal=False, steps=100)
