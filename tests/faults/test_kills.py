"""Killed at any moment, the same command goes on and ends with the same figures."""

import signal

import pytest

from maf_runner.system import errors
from maf_runner.system.interrupts import Interrupts
from tests.helpers.runs import RUN, leftovers, record_of

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def struck(start, words, folder, **fault):
    """Start the command, strike, and look at how it ended."""
    done = start(*words, cwd=folder, **fault)
    assert done.returncode in (0, -fault["signal"], 128 + fault["signal"]), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode > 0:
        assert "interrupted; the same command goes on from here" in done.stderr
    return done.returncode != 0


def taken_up(start, words, folder, whole):
    """Start the command again; what it ends with is what an undisturbed one ends with."""
    done = start(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert record_of(folder) == whole.record
    assert leftovers(folder) == []
    histories = list(folder.rglob("history.csv"))
    assert len(histories) == 1


def test_at_random_moments(start, raw, tmp_path, whole, amount, chance, survived):
    words = (*RUN, f"paths.raw_dir={raw}")
    struck_so_far = 0
    for case in range(amount(4, 200)):
        folder = tmp_path / str(case)
        folder.mkdir()
        for _ in range(chance.choice((1, 1, 2, 3))):
            number, after = chance.choice(SIGNALS), chance.uniform(0, whole.seconds)
            struck_so_far += struck(start, words, folder, signal=number, after=after)
        taken_up(start, words, folder, whole)
    assert struck_so_far > case / 2  # else the moments were all too late
    survived("kills at random moments", struck_so_far)


@pytest.mark.parametrize("number", SIGNALS)
def test_at_every_operation_on_a_file(
    start, raw, tmp_path, whole, amount, chance, survived, number
):
    words = (*RUN, f"paths.raw_dir={raw}")
    places = range(1, len(whole.operations) + 1)
    for at in amount(chance.sample(places, 2), places):
        folder = tmp_path / str(at)
        folder.mkdir()
        assert struck(start, words, folder, signal=number, at=at) or at > places[-3]
        taken_up(start, words, folder, whole)
    survived(f"kills at an operation on a file, {number.name}", len(amount(range(2), places)))


def test_an_error_that_a_library_makes_of_a_signal_is_a_signal():
    """As tqdm does, whose lock is not there yet when the signal comes."""
    with pytest.raises(errors.Interrupted), Interrupts():
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise AttributeError("_lock") from error
