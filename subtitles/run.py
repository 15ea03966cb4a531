"""A run: what is not spoken yet is asked for, kept, reported and mixed. What can be refused is refused before that.

No sound file is removed, ever: it is replaced, when what replaces it is whole."""

import asyncio
import os
import shutil
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import filelock
import rich.progress
from rich.console import Console

from subtitles import cues, outcome, track, wav
from subtitles.captions import WordTimes
from subtitles.console import say, warn
from subtitles.cues import Cue
from subtitles.files import refuse_overlaps
from subtitles.film import Film
from subtitles.interrupt import Interrupt
from subtitles.moves import in_safe_order
from subtitles.options import TURN_PAUSE_SECONDS, BadUsage, Request, RunOptions, check, pauses
from subtitles.progress import CHECKPOINT, CueRecord, Progress, digest, fingerprint
from subtitles.servers import Incompatible, InvalidReply, Rejected, Servers, Unavailable

PLAIN_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""
MAX_DIFFERENCE_SECONDS = 0.01
"""Between a sound and the times of its words; else they are not of the same voice."""


class Run:
    """One pass over the cues that are not spoken yet. Its order of work: resume, speak_all, time_words."""

    def __init__(self, options: RunOptions, all_cues: list[Cue], film: Film, progress: Progress):
        self.options, self.film, self.progress = options, film, progress
        self.all_cues, self.cues = all_cues, [cue for cue in all_cues if cue.parts]
        self.rooms, self.film_seconds = cues.rooms(all_cues), cues.length(all_cues)
        self.pending: deque[Cue] = deque()
        self.began = self.last_spoken = time.monotonic()
        self.done_before = 0
        self.gave_up = ""
        self.words: dict[int, list[WordTimes]] = {}
        """Of each spoken cue, its texts' words and seconds."""
        self.untimed = ""
        """Why not all of these are known."""
        self.begins: dict[int, float] = {}
        """Seconds of the film at which a cue's file begins, where a track places it."""

    def resume(self, servers: Servers) -> None:
        """Sorts what is done from what is not. Only half files are taken away."""
        self.servers = servers
        for part in self.options.output.glob(".audio_*.part"):
            part.unlink()
        for index in list(self.progress.replacing):
            self.progress.recover(index, self.file(index))
        self.progress.film = self.film
        done = {cue.index for cue in self.cues if self._is_done(cue)}
        done |= self._moved(done)
        there = {index for index in self.progress.cues if index in done or self.file(index).is_file()}
        self.progress.retain(done, {cue.index for cue in self.cues}, there)
        self.pending = deque(
            cue
            for cue in self.cues
            if cue.index not in done and (not self.options.retry_failed or cue.index in self.progress.failed)
        )
        self.progress.save(at_once=True)
        self.done_before = len(done)

    def file(self, index: int) -> Path:
        return self.options.output / cues.file_name(index)

    def _is_done(self, cue: Cue) -> bool:
        return self._is_spoken_at(cue, cue.index)

    def _is_spoken_at(self, cue: Cue, index: int) -> bool:
        """The file of this number has what is wanted for the cue."""
        spoken = self.progress.cues.get(index)
        if spoken is None:
            return False
        naturals = spoken.natural if self.options.fit else None
        if self.options.fit and len(naturals or ()) != len(self.options.spoken_by(cue)):
            return False
        return self.progress.is_current(index, self._fingerprint(cue, naturals), self.file(index))

    def _moved(self, done: set[int]) -> set[int]:
        """Copies sounds that no cue of their number wants any more to the cues that do, and returns these."""
        spare: dict[str, int] = {}
        for index, record in self.progress.cues.items():
            if record.words and index not in done and self.file(index).is_file():
                spare[record.words] = index
        moves = {}
        for cue in self.cues:
            source = None if cue.index in done else spare.get(self._fingerprint(cue, None))
            if source is not None and self._is_spoken_at(cue, source):
                moves[cue.index] = source
        ordered = in_safe_order(moves)
        for target, source in ordered:
            part = self.options.output / f".{cues.file_name(target)}.part"
            try:
                shutil.copyfile(self.file(source), part)
                with self.progress.finishing(target, self.progress.cues[source]):
                    os.replace(part, self.file(target))
            finally:
                part.unlink(missing_ok=True)
        return {target for target, _ in ordered}

    def _fingerprint(self, cue: Cue, naturals: Sequence[float] | None) -> str:
        return fingerprint(self.options.requests(cue, naturals, self.rooms[cue.index]), self.servers.model)

    def _requests(self, cue: Cue) -> list[Request]:
        """By which a spoken cue was asked for."""
        naturals = self.progress.cues[cue.index].natural if self.options.fit else None
        return self.options.requests(cue, naturals, self.rooms[cue.index])

    async def speak_all(self) -> None:
        works = [self._work() for _ in range(min(self.options.workers, len(self.pending)))]
        try:
            await _all(works, beside=self._show())
        finally:  # Ctrl+C, a full disk: nobody goes on, and nothing stays in progress
            self.progress.in_progress.clear()
            self.progress.save(at_once=True)

    async def time_words(self) -> None:
        """When each word of what is spoken sounds: asked for as its sound was."""
        waiting = deque(cue for cue in self.cues if cue.index in self.progress.completed)

        async def work() -> None:
            while waiting:
                cue = waiting.popleft()
                try:
                    timed = [await self.servers.word_times(one) for one in self._requests(cue)]
                    planned = sum(one.seconds for one in timed) + pauses(len(timed))
                    there = self.progress.cues[cue.index].seconds
                    if abs(planned - there) > MAX_DIFFERENCE_SECONDS:
                        raise InvalidReply(f"its sound lasts {there:.2f} s, and the server would speak {planned:.2f} s")
                    self.words[cue.index] = timed
                except (Unavailable, InvalidReply, Rejected) as error:
                    self.untimed = f"{self.named(cue)}: {error}"
                    waiting.clear()

        await _all([work() for _ in range(min(self.options.workers, len(waiting)))])

    async def _work(self) -> None:
        patience = self.options.patience
        while self.pending:
            cue = self.pending.popleft()
            self.progress.start(cue.index)
            try:
                await self._speak(cue)
            except (Unavailable, InvalidReply, Rejected) as error:
                self.progress.fail(cue.index, str(error))
                if isinstance(error, Unavailable) and time.monotonic() - self.last_spoken > patience:
                    self.gave_up = (
                        f"gave up: nothing was spoken for {patience:.0f} s; "
                        "when a server answers, the same command goes on"
                    )
                    self.pending.clear()
            else:
                self.last_spoken = time.monotonic()

    async def _speak(self, cue: Cue) -> None:
        options, room = self.options, self.rooms[cue.index]
        part = self.options.output / f".{cue.file_name}.part"
        naturals = await self._naturals(cue) if options.fit else None
        try:
            seconds = await self._sound(cue, naturals, part)
            if options.fit and naturals is None:  # a server that tells no lengths is asked again where it does not fit
                naturals = tuple(one * options.speed for one in seconds)
                if sum(options.durations(naturals, room)) < sum(seconds) - 0.001:
                    seconds = await self._sound(cue, naturals, part)
            whole = sum(seconds) + pauses(len(seconds))
            asked, words = self._fingerprint(cue, naturals), self._fingerprint(cue, None)
            record = CueRecord(asked, digest(part), whole, naturals, words)
            with self.progress.finishing(cue.index, record):
                os.replace(part, self.file(cue.index))
        finally:
            part.unlink(missing_ok=True)

    async def _naturals(self, cue: Cue) -> tuple[float, ...] | None:
        naturals = []
        for text, voice in self.options.spoken_by(cue):
            natural = await self.servers.natural_seconds(text, voice)
            if natural is None:
                return None
            naturals.append(natural)
        return tuple(naturals)

    async def _sound(self, cue: Cue, naturals: Sequence[float] | None, part: Path) -> list[float]:
        """Fills `part` with all the cue's texts and returns the seconds of each."""
        requests = self.options.requests(cue, naturals, self.rooms[cue.index])
        if len(requests) == 1:
            return [await self.servers.speak(requests[0], part)]
        pieces = [part.with_name(f".{cue.file_name}.{number}.part") for number in range(len(requests))]
        try:
            spoken = zip(requests, pieces, strict=True)
            seconds = [await self.servers.speak(request, piece) for request, piece in spoken]
            wav.join(pieces, TURN_PAUSE_SECONDS, part)
        except wav.BadWav as problem:
            raise InvalidReply(f"the server sent {problem}") from None
        finally:
            for piece in pieces:
                piece.unlink(missing_ok=True)
        return seconds

    def figures(self) -> tuple[str, str]:
        completed, failed = len(self.progress.completed), len(self.progress.failed)
        elapsed = (time.monotonic() - self.began) / 60
        new = completed - self.done_before
        left = len(self.cues) - completed
        eta = f"{elapsed / new * left:.1f}m" if new else "unknown" if left else "0.0m"
        return (
            f"{completed}/{len(self.cues)} completed, {failed} failed, {len(self.progress.in_progress)} in progress",
            f"Elapsed: {elapsed:.1f}m, ETA: {eta}",
        )

    async def _show(self) -> None:
        console = Console()
        if not console.is_terminal:
            while True:
                say(*self.figures())
                await self._wait(PLAIN_SECONDS)
        columns = rich.progress.BarColumn(), rich.progress.TextColumn("{task.description}")
        with rich.progress.Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=len(self.cues))
            while True:
                bar.update(task, completed=len(self.progress.completed), description="   ".join(self.figures()))
                await self._wait(0.25)

    async def _wait(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.progress.save_what_waits()
            await asyncio.sleep(0.25)

    def named(self, cue: Cue) -> str:
        return f"{cue.file_name} ({self.options.srt.name}, line {cue.line})"


async def _all(works: Sequence[Coroutine[Any, Any, None]], beside: Coroutine[Any, Any, None] | None = None) -> None:
    """Until all are done, or one fails: then nobody goes on."""
    tasks = [asyncio.create_task(work) for work in works]
    other = [asyncio.create_task(beside)] if beside else []
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in (*tasks, *other):
            task.cancel()
        await asyncio.gather(*tasks, *other, return_exceptions=True)


async def _ask_servers(this: Run, interrupt: Interrupt) -> None:
    options = this.options
    voices = {voice for cue in this.cues for _, voice in options.spoken_by(cue) if voice}
    with interrupt.cancels():
        async with Servers(options.servers, voices, options.patience, options.api_key) as servers:
            for silent in await servers.probe():
                warn(f"{silent}; it is asked again later")
            try:
                this.resume(servers)
                await this.speak_all()
                if options.captions:
                    await this.time_words()
            except (OSError, Incompatible) as error:
                raise Stopped(error, options.output) from None


class Stopped(Exception):
    """In the middle of the work, by the disk or by a server that has become another. What is done is kept."""

    def __init__(self, cause: OSError | Incompatible, folder: Path):
        why = f"{cause.strerror or cause}: {cause.filename or folder}" if isinstance(cause, OSError) else str(cause)
        super().__init__(f"stopped: {why}; with that put right, the same command goes on")


def _all_of(this: Run, interrupt: Interrupt) -> int:
    try:
        asyncio.run(_ask_servers(this, interrupt))
        code = outcome.report(this)
        for out, make in ((this.options.track, outcome.mix), (this.options.captions, outcome.write_captions)):
            try:
                if out and not make(this, out):
                    code = outcome.SOME_FAILED
            except OSError as error:
                raise Stopped(error, out or this.options.output) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        warn(f"interrupted: {this.figures()[0]}; the same command goes on")
        raise KeyboardInterrupt from None
    except Stopped as stopped:
        warn(stopped)
        return outcome.SOME_FAILED
    return code


def run(options: RunOptions, all_cues: list[Cue], interrupt: Interrupt) -> int:
    """Everything that can be refused is refused here, before the first cue is asked for: BadUsage, BadCheckpoint,
    Unavailable, Rejected, Incompatible, OSError."""
    if options.track:
        check(
            cues.length(all_cues) <= track.MAX_SECONDS,
            f"{options.srt} lasts over 24 hours, more than a WAV file holds; correct its last time",
        )
    refuse_overlaps(options)
    options.output.mkdir(parents=True, exist_ok=True)
    film = Film.of(options.srt, ((cue.start, cue.shown) for cue in all_cues))
    try:
        with filelock.FileLock(options.output / ".lock", timeout=0):
            for out in filter(None, (options.track, options.captions)):
                track.part_of(out).touch()  # its folder is missing or closed: better heard now than after an hour
                track.part_of(out).unlink()
            progress = Progress(options.output)
            _refuse_another_film(options, film, progress)
            return _all_of(Run(options, all_cues, film, progress), interrupt)
    except filelock.Timeout:
        raise BadUsage(f"another run works in {options.output}; wait for it, or choose another --output") from None


def _refuse_another_film(options: RunOptions, film: Film, progress: Progress) -> None:
    before = progress.film
    if before and not film.is_same_as(before) and progress.has_sound(cues.file_name):
        raise BadUsage(
            f"{options.output} has the speech of another film, {before.path}, which {options.srt} would take the place "
            f"of; choose another --output for it, or delete {options.output / CHECKPOINT} to give that speech up"
        )
