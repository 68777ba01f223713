"""The queue and the flag between processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executions.engine.channel import LARGEST_MESSAGE, STOP, Channel, Flag, Inbox, Timer

fork = multiprocessing.get_context("fork")


@pytest.fixture
def make() -> Iterator[Callable[..., Channel]]:
    """Makes channels and closes them after the test."""
    channels: list[Channel] = []

    def make_channel(**options: Any) -> Channel:
        channels.append(Channel(**options))
        return channels[-1]

    yield make_channel
    for channel in channels:
        channel.close()


def test_messages_arrive_in_order_and_whole(make):
    channel = make()
    messages = [{"id": number, "args": ("x" * number,)} for number in (0, 5, 5000)]
    for message in messages:
        channel.put(message)
    assert not channel.empty()
    assert [channel.get() for _ in messages] == messages
    assert channel.empty()
    assert channel.qsize() == 0


def test_each_message_goes_to_one_reader(make):
    channel, results = make(), make()

    def read() -> None:
        while (item := channel.get()) != STOP:
            results.put(item)

    readers = [fork.Process(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for item in [*range(60), STOP, STOP, STOP]:
        channel.put(item)
    assert sorted(results.get() for _ in range(60)) == list(range(60))
    for reader in readers:
        reader.join()
    assert results.empty()


def test_a_reader_killed_while_it_waits_does_not_make_the_others_deaf(make):
    channel, results = make(), make()
    victim = fork.Process(target=channel.get)
    victim.start()
    victim.kill()
    victim.join()
    survivor = fork.Process(target=lambda: results.put(channel.get()))
    survivor.start()
    channel.put("for the survivor")
    assert results.get() == "for the survivor"
    survivor.join()


def test_a_full_channel_drops_messages_instead_of_blocking_for_ever(make):
    channel = make(room=2, patience=0.01)
    for number in range(30):
        channel.put(number)
    kept = []
    while not channel.empty():
        kept.append(channel.get())
    assert kept == list(range(len(kept)))
    assert 2 <= len(kept) <= 20


def test_a_message_too_large_for_a_packet_is_dropped(make):
    channel = make()
    channel.put("x" * (4 * LARGEST_MESSAGE))
    assert channel.empty()


def test_an_inbox_ends_when_told_even_with_messages_waiting(make):
    channel, stop = make(), Flag()
    inbox = Inbox(channel, stop)
    channel.put("first")
    channel.put("second")
    assert inbox.get() == "first"
    stop.set()
    assert inbox.get() == STOP
    assert channel.get() == "second"


def test_a_flag_is_seen_by_other_processes_and_stays_set(make):
    flag, seen = Flag(), make()
    waiter = fork.Process(target=lambda: seen.put(flag.wait(30)))
    waiter.start()
    assert not flag.is_set()
    flag.set()
    flag.set()
    assert seen.get() is True
    waiter.join()
    assert flag.is_set()


def test_waiting_for_a_flag_ends_with_its_time():
    started = time.monotonic()
    assert Flag().wait(0.01) is False
    assert time.monotonic() - started < 5


def test_a_timer_is_shared_and_has_no_lock_to_lose():
    timer = Timer()

    def count_down() -> None:
        with timer.get_lock():
            timer.value = 7

    child = fork.Process(target=count_down)
    child.start()
    child.join()
    assert timer.value == 7
