"""The guardian's loop: files, deadlines and signals, each callback once and none after it was ended."""

from __future__ import annotations

import os
import signal

import pytest

from raftctl.host.loop import READ, Loop

MS = 1_000_000


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def test_timers_fire_in_order_once_and_not_when_cancelled(loop):
    fired = []
    now = loop.now()
    loop.at(now + 2 * MS, lambda: fired.append("second"))
    loop.at(now + MS, lambda: fired.append("first"))
    timer = loop.at(now + MS, lambda: fired.append("never"))
    timer.cancel()
    loop.at(now + 3 * MS, lambda: loop.after(0, lambda: fired.append("third")))
    loop.run(until=lambda: len(fired) == 3)
    assert fired == ["first", "second", "third"]
    timer.fire()
    assert len(fired) == 3


def test_a_watch_that_a_callback_of_the_same_turn_ended_is_not_called(loop):
    pipes = [os.pipe(), os.pipe()]
    called = []

    def end_both():
        called.append(1)
        for reader, _ in pipes:
            loop.forget(reader)

    for reader, writer in pipes:
        loop.watch(reader, READ, end_both)
        os.write(writer, b"x")
    loop.turn()
    assert called == [1]
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)


def test_a_signal_wakes_the_loop_and_the_handlers_of_before_come_back():
    before = signal.getsignal(signal.SIGUSR2)
    loop = Loop()
    came = []
    loop.on_signal = came.append
    loop.catch([signal.SIGUSR2])
    os.kill(os.getpid(), signal.SIGUSR2)
    loop.turn()
    assert came == [signal.SIGUSR2]
    loop.close()
    assert signal.getsignal(signal.SIGUSR2) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_no_signal_is_lost_when_the_wake_up_buffer_is_full(loop):
    came = []
    loop.on_signal = came.append
    loop.catch([signal.SIGUSR2])
    with pytest.raises(BlockingIOError):
        while True:
            loop._wake_out.send(b"x" * 4096)
    os.kill(os.getpid(), signal.SIGUSR2)
    loop.turn()
    assert came == [signal.SIGUSR2]


def test_an_exception_of_a_callback_ends_the_loop(loop):
    loop.after(0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.run(until=lambda: False)
