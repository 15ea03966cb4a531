"""Whose sound runs out first goes first: one slot at a time, nobody forgotten, whoever leaves or breaks."""

import asyncio
import concurrent.futures
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.scheduler import FIRST_SOUND_SECONDS, BackgroundTask, PlaybackDeadline, Scheduler
from server.stats import Stats

LONG = (
    "The ship reached the island early in the morning. "
    "Two men were standing in front of the hotel, and nobody knew why. " * 40
)


def listener(deadline: float) -> PlaybackDeadline:
    made = PlaybackDeadline()
    made.deadline = deadline
    return made


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12, unique=True))
def test_the_earliest_deadline_goes_first(deadlines: list[int]) -> None:
    async def main() -> list[int]:
        model, order = Scheduler(Stats()), []

        async def ask(deadline: int) -> None:
            async with model.slot(listener(deadline)):
                order.append(deadline)

        async with model.slot(listener(-1)):
            asking = [asyncio.create_task(ask(d)) for d in deadlines]
            await asyncio.sleep(0)
        await asyncio.gather(*asking)
        return order

    assert asyncio.run(main()) == sorted(deadlines)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10), st.integers(0, 2**32))
def test_one_at_a_time_and_nobody_forgotten_when_some_leave_and_some_break(count: int, seed: int) -> None:
    """Tasks take several slots each; some are cancelled, some raise inside one; the others finish."""

    async def main() -> None:
        draw, model, inside = random.Random(seed), Scheduler(Stats()), 0
        finished = []

        async def work(number: int, breaks: bool) -> None:
            nonlocal inside
            mine = listener(draw.random())
            for step in range(5):
                async with model.slot(mine):
                    inside += 1
                    try:
                        assert inside == 1
                        if breaks and step == 2:
                            raise RuntimeError("inside a slot")
                        mine.deadline += draw.random()
                    finally:
                        inside -= 1
            finished.append(number)

        fates = [draw.choice(["finish", "break", "leave"]) for _ in range(count)]
        tasks = [asyncio.create_task(work(i, fate == "break")) for i, fate in enumerate(fates)]
        for task, fate in zip(tasks, fates, strict=True):
            if fate == "leave":
                for _ in range(draw.randint(0, 30)):
                    await asyncio.sleep(0)
                task.cancel()
        async with asyncio.timeout(5):
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            # Among them an assertion of the task's own, if two were inside.
            assert {str(end) for end in ends if end is not None} <= {"", "inside a slot"}, ends
            assert {i for i, fate in enumerate(fates) if fate == "finish"} <= set(finished)
            async with model.slot(listener(0)):
                pass

    asyncio.run(main())


@pytest.mark.timing
def test_background_work_that_is_due_has_its_share_beside_endless_listeners_and_what_is_not_due_waits() -> None:
    async def main() -> tuple[int, int, int]:
        model, slots = Scheduler(Stats()), {"listener": 0, "due": 0, "later": 0}

        def work(name: str) -> Iterator[None]:
            while True:
                time.sleep(0.001)
                slots[name] += 1
                yield None

        async def go(name: str, who: PlaybackDeadline | BackgroundTask) -> None:
            async for _ in model.drive(work(name), who):
                pass

        due, later = BackgroundTask(), BackgroundTask(time.time() + 3600)
        tasks = [go("listener", listener(0)), go("listener", listener(1)), go("due", due), go("later", later)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*tasks)
        return slots["listener"], slots["due"], slots["later"]

    listeners, due, later = asyncio.run(main())
    assert later == 0 and 0.02 < due / (listeners + due) < 0.2, (listeners, due, later)


def test_in_rounds_all_listeners_have_as_many_slots_beside_work_that_is_due() -> None:
    async def main() -> list[int]:
        model, slots = Scheduler(Stats(), rounds=True), [0] * 6

        def work(number: int) -> Iterator[None]:
            while max(slots) < 60:
                slots[number] += 1
                yield None

        def planning() -> Iterator[None]:
            while max(slots) < 60:
                yield None

        listeners = [model.drive(work(number), listener(number)) for number in range(len(slots))]
        due = model.drive(planning(), BackgroundTask())

        async def go(parts: AsyncIterator[None]) -> None:
            async for _ in parts:
                pass

        await asyncio.gather(*map(go, [due, *listeners]))
        return slots

    slots = asyncio.run(main())
    assert max(slots) - min(slots) <= 2, slots


@pytest.mark.timing
def test_in_rounds_planning_keeps_its_long_slots() -> None:
    async def main() -> tuple[int, int]:
        model, turns, steps = Scheduler(Stats(), rounds=True), 0, 0

        def planning() -> Iterator[None]:
            nonlocal steps
            while steps < 100:
                steps += 1
                time.sleep(0.001)
                yield None

        def polling() -> Iterator[None]:
            while steps < 100:
                yield None

        async def plan() -> None:
            nonlocal turns
            async for _ in model.drive(planning(), BackgroundTask(slot_seconds=0.02)):
                turns += 1

        async def listen() -> None:
            async for _ in model.drive(polling(), listener(0)):
                pass

        await asyncio.gather(listen(), plan())
        return steps, turns

    steps, turns = asyncio.run(main())
    assert steps == 100 and turns <= 12, turns


def test_a_deadline_is_when_the_sound_runs_out() -> None:
    now = 100.0
    mine = PlaybackDeadline(lambda: now)
    assert mine.deadline == 100 + FIRST_SOUND_SECONDS
    now = 101.0
    mine.sent(2.0)
    assert mine.deadline == 103
    mine.sent(1.0)
    assert mine.deadline == 104
    now = 110.0  # it ran dry: playing starts again with what comes
    mine.sent(2.0)
    assert mine.deadline == 112


def first_sound(client: httpx.Client, text: str) -> float:
    began = time.perf_counter()
    with client.stream("POST", "/tts", json={"text": text, "seed": 1}) as reply:
        assert next(reply.iter_raw())
        return time.perf_counter() - began


@pytest.mark.timing
def test_a_newcomer_overtakes_a_long_speech_between_two_steps(server: str, client: httpx.Client) -> None:
    """Upstream's servers finish the chunk first; here the wait grows by a step or two."""
    short = "Good evening to you."
    idle = min(first_sound(client, short) for _ in range(3))
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        httpx.stream("POST", f"{server}/tts", json={"text": LONG}, timeout=300) as long,
    ):
        reading = long.iter_raw()
        for _ in range(4):
            next(reading)
        pool.submit(lambda: [None for _ in zip(reading, range(200), strict=False)])
        busy = sorted(first_sound(client, short) for _ in range(5))
        long.close()
    assert busy[2] < 1.3 * idle + 0.2, f"first sound after {busy} s, {idle:.3f} s when idle"
