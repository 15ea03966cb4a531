"""A run: what is not spoken yet is asked for, kept, reported, mixed. Everything that can be refused is refused before the first cue."""

import asyncio
import os
import sys
import time
from collections import deque
from pathlib import Path

import filelock
import rich.progress
from rich.console import Console

from subtitles import cues, track
from subtitles.cues import Cue
from subtitles.options import BadUsage, RunOptions, check
from subtitles.progress import CueRecord, Progress, digest, fingerprint
from subtitles.servers import Incompatible, InvalidReply, Rejected, Servers, Unavailable

SPOKEN, SOME_FAILED = 0, 1
LATE_SECONDS = 0.03
PLAIN_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


class Run:
    """One pass over the cues that are not spoken yet. Its order of work: resume, speak_all, report, mix."""

    def __init__(self, options: RunOptions, all_cues: list[Cue], progress: Progress, servers: Servers):
        self.options, self.progress, self.servers = options, progress, servers
        self.cues = [cue for cue in all_cues if cue.text]
        self.rooms, self.film_seconds = cues.rooms(all_cues), cues.length(all_cues)
        self.pending: deque[Cue] = deque()
        self.began = self.last_spoken = time.monotonic()
        self.done_before = 0
        self.gave_up = ""

    def resume(self) -> None:
        """Sorts what is done from what is not, and takes away what is neither: half files, files of another text."""
        for part in self.options.output.glob(".audio_*.part"):
            part.unlink()
        done = {cue.index for cue in self.cues if self._is_done(cue)}
        for index in self.progress.cues.keys() - done:
            (self.options.output / cues.file_name(index)).unlink(missing_ok=True)
        self.progress.retain(done, {cue.index for cue in self.cues})
        self.pending = deque(
            cue
            for cue in self.cues
            if cue.index not in done and (not self.options.retry_failed or cue.index in self.progress.failed)
        )
        self.progress.save(at_once=True)
        self.done_before = len(done)

    def _is_done(self, cue: Cue) -> bool:
        spoken = self.progress.cues.get(cue.index)
        if spoken is None or (self.options.fit and spoken.natural is None):
            return False
        asked = self.options.request(cue, spoken.natural if self.options.fit else None, self.rooms[cue.index])
        return self.progress.is_current(
            cue.index, fingerprint(asked, self.servers.model), self.options.output / cue.file_name
        )

    async def speak_all(self) -> None:
        workers = [asyncio.create_task(self._work()) for _ in range(min(self.options.workers, len(self.pending)))]
        ticking = asyncio.create_task(self._show())
        try:
            await asyncio.gather(*workers)
        finally:  # Ctrl+C, a full disk: nobody goes on, and nothing stays in progress
            for task in (*workers, ticking):
                task.cancel()
            await asyncio.gather(*workers, ticking, return_exceptions=True)
            self.progress.in_progress.clear()
            self.progress.save(at_once=True)

    async def _work(self) -> None:
        while self.pending:
            cue = self.pending.popleft()
            self.progress.start(cue.index)
            try:
                await self._speak(cue)
            except (Unavailable, InvalidReply, Rejected) as error:
                self.progress.fail(cue.index, str(error))
                if isinstance(error, Unavailable) and time.monotonic() - self.last_spoken > self.options.patience:
                    self.gave_up = f"gave up: nothing was spoken for {self.options.patience:.0f} s; when a server answers, the same command goes on"
                    self.pending.clear()
            else:
                self.last_spoken = time.monotonic()

    async def _speak(self, cue: Cue) -> None:
        options, room, file = self.options, self.rooms[cue.index], self.options.output / cue.file_name
        part = file.with_name(f".{cue.file_name}.part")
        natural = await self.servers.natural_seconds(cue.text, options.voice_of(cue)) if options.fit else None
        try:
            seconds = await self.servers.speak(options.request(cue, natural, room), part)
            if (
                options.fit and natural is None
            ):  # a server that tells no lengths is asked again where the first does not fit
                natural = seconds * options.speed
                if options.fitted(natural, room) < seconds - 0.001:
                    seconds = await self.servers.speak(options.request(cue, natural, room), part)
            asked = fingerprint(options.request(cue, natural, room), self.servers.model)
            with self.progress.finishing(cue.index, CueRecord(asked, digest(part), seconds, natural)):
                os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)

    def figures(self) -> tuple[str, str]:
        completed, failed, speaking, total = (
            len(self.progress.completed),
            len(self.progress.failed),
            len(self.progress.in_progress),
            len(self.cues),
        )
        elapsed = (time.monotonic() - self.began) / 60
        new = completed - self.done_before
        left = total - completed
        eta = f"{elapsed / new * left:.1f}m" if new else "unknown" if left else "0.0m"
        return (
            f"{completed}/{total} completed, {failed} failed, {speaking} in progress",
            f"Elapsed: {elapsed:.1f}m, ETA: {eta}",
        )

    async def _show(self) -> None:
        console = Console()
        if not console.is_terminal:
            while True:
                print(*self.figures(), sep="\n", flush=True)
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

    def report(self) -> int:
        """Prints what became of the cues, names those that failed, and returns the exit code."""
        print(*self.figures(), sep="\n")
        unspoken = [cue for cue in self.cues if cue.index not in self.progress.completed]
        for cue in self.cues:
            if self.options.fit and cue.index in self.progress.completed:
                spoken, room = self.progress.cues[cue.index], self.rooms[cue.index]
                if spoken.seconds > room + 0.001:
                    print(f"does not fit: {self._named(cue)}: {spoken.seconds:.2f} s of speech, {room:.2f} s of room")
        for cue in unspoken:
            failure = self.progress.failed.get(cue.index)
            print(
                f"failed: {self._named(cue)}: {failure['error']}" if failure else f"not tried: {self._named(cue)}",
                file=sys.stderr,
            )
        if self.gave_up:
            print(self.gave_up, file=sys.stderr)
        return SOME_FAILED if unspoken else SPOKEN

    def mix(self, out: Path) -> None:
        spoken = sorted((cue for cue in self.cues if cue.index in self.progress.completed), key=cues.in_time)
        seconds, late = track.mix(
            ((cue.start, self.options.output / cue.file_name) for cue in spoken), self.film_seconds, out
        )
        for cue, delay in zip(spoken, late, strict=True):
            if delay > LATE_SECONDS:
                print(f"late: {self._named(cue)}: starts {delay:.2f} s after its cue, when the one before has ended")
        longer = (
            f", {seconds - self.film_seconds:.2f} s longer than the subtitles"
            if seconds > self.film_seconds + 0.001
            else ""
        )
        print(f"{out}: {seconds:.2f} s, {len(spoken)} of {len(self.cues)} cues{longer}")

    def _named(self, cue: Cue) -> str:
        return f"{cue.file_name} ({self.options.srt.name}, line {cue.line})"


async def _run(options: RunOptions, all_cues: list[Cue], progress: Progress) -> int:
    voices = {voice for cue in all_cues if cue.text and (voice := options.voice_of(cue))}
    async with Servers(options.servers, voices, options.patience) as servers:
        for silent in await servers.probe():
            print(f"{silent}; it is asked again later", file=sys.stderr)
        this = Run(options, all_cues, progress, servers)
        this.resume()
        try:
            await this.speak_all()
            code = this.report()
            if options.track:
                this.mix(options.track)
        except asyncio.CancelledError:
            print(f"interrupted: {this.figures()[0]}; the same command goes on", file=sys.stderr)
            raise
        except (OSError, Incompatible) as error:
            why = f"{error.strerror}: {error.filename or options.output}" if isinstance(error, OSError) else error
            print(f"stopped: {why}; with that put right, the same command goes on", file=sys.stderr)
            return SOME_FAILED
    return code


def run(options: RunOptions, all_cues: list[Cue]) -> int:
    """Everything that can be refused is refused here, before the first cue is asked for."""
    if options.track:
        check(
            cues.length(all_cues) <= track.MAX_SECONDS,
            f"{options.srt} lasts over 24 hours, more than a WAV file is_current; correct its last time",
        )
        check(not options.track.is_dir(), f"--track {options.track} is a folder; name a file in it")
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(options.output / ".lock", timeout=0):
            if options.track:  # its folder is missing or closed: better heard now than after an hour
                track.part_of(options.track).touch()
                track.part_of(options.track).unlink()
            return asyncio.run(_run(options, all_cues, Progress(options.output)))
    except filelock.Timeout:
        raise BadUsage(f"another run works in {options.output}; wait for it, or choose another --output") from None
