"""How a run ended: the outcome of each observer, and which one counts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from deit.errors import UserError
from deit.runs import directory, status
from deit.runs.outcome import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    Outcome,
    decide,
    failed,
    finished,
    gone,
    interrupted,
    of_error,
    of_trial,
)


def unasked() -> Outcome:
    raise AssertionError("the processes are looked at although something else explains the end")


STOPPED = interrupted(signal.SIGTERM)
ELSEWHERE = failed("machine 1: out of memory")


@pytest.mark.parametrize(
    ("recorded", "elsewhere", "signalled", "right"),
    [
        (finished(), ELSEWHERE, STOPPED, finished()),  # the signal came too late
        (failed("nan"), None, STOPPED, failed("nan")),
        (interrupted(signal.SIGINT, "rank 0"), None, STOPPED, STOPPED),  # the launcher knows who asked
        (interrupted(signal.SIGINT, "rank 0"), ELSEWHERE, STOPPED, ELSEWHERE),
        (interrupted(signal.SIGINT, "rank 0"), finished(), None, interrupted(signal.SIGINT, "rank 0")),
        (None, ELSEWHERE, STOPPED, ELSEWHERE),
        (None, finished(), STOPPED, STOPPED),
    ],
)
def test_outcome_with_priority_is_chosen(
    recorded: Outcome | None, elsewhere: Outcome | None, signalled: Outcome | None, right: Outcome
) -> None:
    assert decide(recorded, elsewhere, signalled, unasked) == right


@pytest.mark.parametrize("elsewhere", [None, finished()])
def test_processes_are_checked_last(elsewhere: Outcome | None) -> None:
    assert decide(None, elsewhere, None, lambda: failed("killed")) == failed("killed")


@pytest.mark.parametrize(
    ("code", "recorded", "right"),
    [
        (0, None, finished()),  # the disk had no room for the status
        (143, interrupted(signal.SIGTERM, "pruned"), Outcome(INTERRUPTED, 143, "pruned")),
        (130, None, Outcome(INTERRUPTED, 130, None)),
        (-9, finished(), failed("its launcher was killed by SIGKILL")),
        (2, None, failed("no such file", 2)),
        (1, failed("nan"), failed("nan")),
        (1, failed(None), failed(None)),  # an end without a message has none, whatever was printed
    ],
)
def test_a_trial_ends_as_its_process_did(code: int, recorded: Outcome | None, right: Outcome) -> None:
    assert of_trial(code, recorded, lambda: "no such file") == right


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (UserError("data.root: not there"), failed("data.root: not there", 2)),
        (UserError("unreadable", exit_code=1), failed("unreadable", 1)),
        (RuntimeError("\n-----\n- Heading\n  out of memory\n-----\nmore"), failed("RuntimeError: out of memory")),
        (KeyError(), failed("KeyError: ")),
    ],
)
def test_an_error_is_a_failure_of_one_line(error: Exception, right: Outcome) -> None:
    assert of_error(error) == right


def test_properties_of_an_outcome() -> None:
    ends = [finished(), failed("no GPU"), failed("bad key", 2), STOPPED, gone()]
    assert [end.retryable for end in ends] == [False, True, False, False, False]
    assert [end.mlflow_status for end in ends] == ["FINISHED", "FAILED", "FAILED", "KILLED", "KILLED"]
    assert [end.exit_code for end in ends] == [0, 1, 2, 143, 1]
    assert (finished().text, STOPPED.text) == ("finished", "stopped by SIGTERM")


def test_status_stores_the_outcome(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "one")
    assert status.read(run).outcome is None and not status.finished(run)
    assert status.end(run, status.Status(status.RUNNING, progress={"step": 3}), STOPPED) == 143
    now = status.read(run)
    assert (now.outcome, now.released, now.progress) == (STOPPED, True, {"step": 3})
    with pytest.raises(ZeroDivisionError), status.failure_recorded(run, now):
        print(1 // 0)
    assert status.read(run).outcome == Outcome(FAILED, 1, "ZeroDivisionError: integer division or modulo by zero")
    status.end(run, now, finished())
    assert status.finished(run) and status.read(run).state == FINISHED
