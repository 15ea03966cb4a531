"""A subtitle file becomes speech: one sound file per cue, or one track that fits the film. A client of the server; loads no model.

Try: python tts_worker.py --srt examples/harbour.srt --track harbour.wav        (in another terminal: make serve)
"""

import argparse
import asyncio
import os
import sys
import time
import tomllib
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import filelock
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from subtitles import cues, track
from subtitles.cues import BadSubtitle, Cue
from subtitles.progress import BadCheckpoint, Ledger, Spoken, digest, fingerprint
from subtitles.servers import Away, Broken, Refused, Servers, Unsuited

SPOKEN, SOME_FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
SPEEDS = 0.25, 4.0
FITTED_SPEEDS = 0.252, 3.95
"""A little inside SPEEDS: lengths come rounded to a millisecond, and at the very limit a server would refuse half of them."""
LEAST_SECONDS = 0.25
"""Shorter than this no speech is asked for: a server has no frames for it."""
LATE_SECONDS = 0.03
PLAIN_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


class BadUsage(ValueError):
    """What to type instead."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted. Valid from birth: BadUsage says what is wrong."""

    srt: Path
    output: Path
    servers: list[str]
    workers: int
    speed: float
    voice: str | None
    voices: dict[str, str]
    """Speaker, in small letters → voice."""
    seed: int | None
    fit: bool
    max_speed: float
    track: Path | None
    retry_failed: bool
    patience: float

    def __post_init__(self) -> None:
        _check(self.workers >= 1, f"--workers {self.workers} speaks nothing; 1 or more")
        _check(SPEEDS[0] <= self.speed <= SPEEDS[1], f"--speed {self.speed} is not from {SPEEDS[0]} to {SPEEDS[1]}")
        _check(1 <= self.max_speed <= SPEEDS[1], f"--max-speed {self.max_speed} is not from 1 to {SPEEDS[1]}")
        _check(self.patience > 0, f"--patience {self.patience} gives up at once; seconds above 0")
        _check(self.seed is None or 0 <= self.seed < 2**63, f"--seed {self.seed} is not from 0 to 2^63 - 1")
        for url in self.servers:
            _check(
                urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname),
                f"--server {url} needs the form http://127.0.0.1:8000",
            )

    def line(self, cue: Cue, natural: float | None, room: float) -> dict:
        """What the server is asked. Only what was chosen: a server that knows fewer fields is asked for fewer."""
        line: dict = {"text": cue.text, "speed": self.speed}
        if voice := self.voice_of(cue):
            line["voice"] = voice
        if self.seed is not None:
            line["seed"] = self.seed
        if natural is not None:
            line["duration"] = self.fitted(natural, room)
        return line

    def voice_of(self, cue: Cue) -> str | None:
        return self.voices.get(cue.speaker.casefold(), self.voice)

    def fitted(self, natural: float, room: float) -> float:
        """Seconds: as long as it takes at --speed if there is room, else faster, at most --max-speed times the voice's own pace."""
        slowest, fastest = FITTED_SPEEDS
        wanted = natural / min(max(self.speed, slowest), fastest)
        shortest = natural / min(max(self.speed, self.max_speed), fastest)
        return round(max(min(wanted, max(room, shortest)), min(natural, LEAST_SECONDS)), 3)


def _check(right: bool, otherwise: str) -> None:
    if not right:
        raise BadUsage(otherwise)


class Run:
    """One pass over the cues that are not spoken yet. Its order of work: resume, speak_all, report, mix."""

    def __init__(self, job: Job, all_cues: list[Cue], ledger: Ledger, servers: Servers):
        self.job, self.ledger, self.servers = job, ledger, servers
        self.cues = [cue for cue in all_cues if cue.text]
        self.rooms, self.film_seconds = cues.rooms(all_cues), cues.length(all_cues)
        self.pending: deque[Cue] = deque()
        self.began = self.last_spoken = time.monotonic()
        self.done_before = 0
        self.gave_up = ""

    def resume(self) -> None:
        """Sorts what is done from what is not, and takes away what is neither: half files, files of another text."""
        for part in self.job.output.glob(".audio_*.part"):
            part.unlink()
        done = {cue.index for cue in self.cues if self._is_done(cue)}
        for index in self.ledger.cues.keys() - done:
            (self.job.output / cues.file_name(index)).unlink(missing_ok=True)
        self.ledger.keep(done, {cue.index for cue in self.cues})
        self.pending = deque(
            cue
            for cue in self.cues
            if cue.index not in done and (not self.job.retry_failed or cue.index in self.ledger.failed)
        )
        self.ledger.save(at_once=True)
        self.done_before = len(done)

    def _is_done(self, cue: Cue) -> bool:
        spoken = self.ledger.cues.get(cue.index)
        if spoken is None or (self.job.fit and spoken.natural is None):
            return False
        line = self.job.line(cue, spoken.natural if self.job.fit else None, self.rooms[cue.index])
        return self.ledger.holds(cue.index, fingerprint(line, self.servers.model), self.job.output / cue.file_name)

    async def speak_all(self) -> None:
        workers = [asyncio.create_task(self._work()) for _ in range(min(self.job.workers, len(self.pending)))]
        ticking = asyncio.create_task(self._show())
        try:
            await asyncio.gather(*workers)
        finally:  # Ctrl+C, a full disk: nobody goes on, and nothing stays in progress
            for task in (*workers, ticking):
                task.cancel()
            await asyncio.gather(*workers, ticking, return_exceptions=True)
            self.ledger.in_progress.clear()
            self.ledger.save(at_once=True)

    async def _work(self) -> None:
        while self.pending:
            cue = self.pending.popleft()
            self.ledger.start(cue.index)
            try:
                await self._speak(cue)
            except (Away, Broken, Refused) as error:
                self.ledger.fail(cue.index, str(error))
                if isinstance(error, Away) and time.monotonic() - self.last_spoken > self.job.patience:
                    self.gave_up = f"gave up: nothing was spoken for {self.job.patience:.0f} s; when a server answers, the same command goes on"
                    self.pending.clear()
            else:
                self.last_spoken = time.monotonic()

    async def _speak(self, cue: Cue) -> None:
        job, room, file = self.job, self.rooms[cue.index], self.job.output / cue.file_name
        part = file.with_name(f".{cue.file_name}.part")
        natural = await self.servers.natural_seconds(cue.text, job.voice_of(cue)) if job.fit else None
        try:
            seconds = await self.servers.speak(job.line(cue, natural, room), part)
            if (
                job.fit and natural is None
            ):  # a server that tells no lengths is asked again where the first does not fit
                natural = seconds * job.speed
                if job.fitted(natural, room) < seconds - 0.001:
                    seconds = await self.servers.speak(job.line(cue, natural, room), part)
            asked = fingerprint(job.line(cue, natural, room), self.servers.model)
            with self.ledger.finishing(cue.index, Spoken(asked, digest(part), seconds, natural)):
                os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)

    def figures(self) -> tuple[str, str]:
        completed, failed, speaking, total = (
            len(self.ledger.completed),
            len(self.ledger.failed),
            len(self.ledger.in_progress),
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
        with Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True) as bar:
            task = bar.add_task("", total=len(self.cues))
            while True:
                bar.update(task, completed=len(self.ledger.completed), description="   ".join(self.figures()))
                await self._wait(0.25)

    async def _wait(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.ledger.save_what_waits()
            await asyncio.sleep(0.25)

    def report(self) -> int:
        """Prints what became of the cues, names those that failed, and returns the exit code."""
        print(*self.figures(), sep="\n")
        unspoken = [cue for cue in self.cues if cue.index not in self.ledger.completed]
        for cue in self.cues:
            if self.job.fit and cue.index in self.ledger.completed:
                spoken, room = self.ledger.cues[cue.index], self.rooms[cue.index]
                if spoken.seconds > room + 0.001:
                    print(f"does not fit: {self._named(cue)}: {spoken.seconds:.2f} s of speech, {room:.2f} s of room")
        for cue in unspoken:
            failure = self.ledger.failed.get(cue.index)
            print(
                f"failed: {self._named(cue)}: {failure['error']}" if failure else f"not tried: {self._named(cue)}",
                file=sys.stderr,
            )
        if self.gave_up:
            print(self.gave_up, file=sys.stderr)
        return SOME_FAILED if unspoken else SPOKEN

    def mix(self, out: Path) -> None:
        spoken = sorted((cue for cue in self.cues if cue.index in self.ledger.completed), key=cues.in_time)
        seconds, late = track.mix(
            ((cue.start, self.job.output / cue.file_name) for cue in spoken), self.film_seconds, out
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
        return f"{cue.file_name} ({self.job.srt.name}, line {cue.line})"


async def run(job: Job, all_cues: list[Cue], ledger: Ledger) -> int:
    voices = {voice for cue in all_cues if cue.text and (voice := job.voice_of(cue))}
    async with Servers(job.servers, voices, job.patience) as servers:
        for silent in await servers.greet():
            print(f"{silent}; it is asked again later", file=sys.stderr)
        this = Run(job, all_cues, ledger, servers)
        this.resume()
        try:
            await this.speak_all()
            code = this.report()
            if job.track:
                this.mix(job.track)
        except asyncio.CancelledError:
            print(f"interrupted: {this.figures()[0]}; the same command goes on", file=sys.stderr)
            raise
        except (OSError, Unsuited) as error:
            why = f"{error.strerror}: {error.filename or job.output}" if isinstance(error, OSError) else error
            print(f"stopped: {why}; with that put right, the same command goes on", file=sys.stderr)
            return SOME_FAILED
    return code


def speak(job: Job, all_cues: list[Cue]) -> int:
    """Everything that can be refused is refused here, before the first cue is asked for."""
    if job.track:
        _check(
            cues.length(all_cues) <= track.LONGEST_SECONDS,
            f"{job.srt} lasts over 24 hours, more than a WAV file holds; correct its last time",
        )
        _check(not job.track.is_dir(), f"--track {job.track} is a folder; name a file in it")
    job.output.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(job.output / ".lock", timeout=0):
            if job.track:  # its folder is missing or closed: better heard now than after an hour
                track.part_of(job.track).touch()
                track.part_of(job.track).unlink()
            return asyncio.run(run(job, all_cues, Ledger(job.output)))
    except filelock.Timeout:
        raise BadUsage(f"another run works in {job.output}; wait for it, or choose another --output") from None


def read_voices(file: Path) -> dict[str, str]:
    try:
        named = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadUsage(f"{file}: {error}") from None
    for speaker, voice in named.items():
        _check(isinstance(voice, str), f'{file}: {speaker} needs the name of a voice, such as {speaker} = "default"')
    return {speaker.casefold(): voice for speaker, voice in named.items()}


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        description="Speak a subtitle file: one sound file per cue, or one track that fits the film. Run again, it goes on where it stopped.",
        epilog="Exit codes: 0 all spoken, 1 some failed (named), 2 bad usage or file, 130 interrupted after saving.",
    )
    options.add_argument("--srt", type=Path, required=True, metavar="FILE", help="subtitles: SRT, VTT or ASS")
    options.add_argument(
        "--output", type=Path, default=Path("output_audio"), metavar="DIR", help="for audio_0000.wav … (output_audio)"
    )
    options.add_argument(
        "--server",
        action="append",
        metavar="URL",
        help="repeat it for several, or name a load balancer (http://127.0.0.1:8000)",
    )
    one_at_a_time = (
        "cues asked for at once (2); more workers than servers gain nothing: a model speaks one cue at a time"
    )
    options.add_argument("--workers", type=int, default=2, metavar="N", help=one_at_a_time)
    options.add_argument("--speed", type=float, default=1.0, help="0.25 to 4; 1.0 is the voice's own pace")
    options.add_argument("--voice", metavar="NAME", help="for cues without a voice of their own (the server's default)")
    options.add_argument(
        "--voices",
        type=Path,
        metavar="MAP.TOML",
        help='which voice speaks for [anna] or an ASS actor: anna = "default"',
    )
    options.add_argument("--seed", type=int, help="same seed, same speech")
    options.add_argument(
        "--fit",
        action=argparse.BooleanOptionalAction,
        help="ask for speech as long as there is room before the next cue (on with --track)",
    )
    options.add_argument("--max-speed", type=float, default=1.3, help="times the voice's own pace, to fit (1.3)")
    options.add_argument("--track", type=Path, metavar="OUT.WAV", help="also mix all cues at their times into one file")
    options.add_argument("--retry-failed", action="store_true", help="ask only for cues that failed")
    options.add_argument(
        "--patience",
        type=float,
        default=900,
        metavar="SECONDS",
        help="how long a cue waits for a server that is away or full (900)",
    )
    options.add_argument("--check", action="store_true", help="only read the file and say what is odd in it")
    return options


def main() -> int:
    chosen = parser().parse_args()
    try:
        voices = read_voices(chosen.voices) if chosen.voices else {}
        servers = list(dict.fromkeys(url.rstrip("/") for url in chosen.server or ["http://127.0.0.1:8000"]))
        fit = bool(chosen.track) if chosen.fit is None else chosen.fit
        job = Job(
            chosen.srt,
            chosen.output,
            servers,
            chosen.workers,
            chosen.speed,
            chosen.voice,
            voices,
            chosen.seed,
            fit,
            chosen.max_speed,
            chosen.track,
            chosen.retry_failed,
            chosen.patience,
        )
        all_cues, encoding = cues.read(job.srt)
        if not encoding.startswith("utf"):
            print(
                f"{job.srt} is not UTF-8 and was read as {encoding}; if letters are wrong, save it as UTF-8",
                file=sys.stderr,
            )
        if chosen.check:
            print(*cues.report(all_cues, job.srt, voices, job.max_speed), sep="\n")
            return SPOKEN
        if unknown := cues.strangers(all_cues, voices):
            print(unknown, file=sys.stderr)
        return speak(job, all_cues)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Away as error:
        print(f"no server answers: {error}; start one, or correct --server", file=sys.stderr)
    except Refused as error:
        print(f"{error}; is --server the address alone, such as http://127.0.0.1:8000?", file=sys.stderr)
    except (BadUsage, BadSubtitle, BadCheckpoint, Unsuited) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"cannot go on: {error.strerror or error}: {error.filename or job.output}", file=sys.stderr)
    return BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
