"""Many days of one folder: kills, full disks, changed options, edited and other films. 0 finished files lost."""

import random
import resource
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from films import checkpoint, command, leftovers, make_film, sounds, work, working
from scripted import Reply, Scripted, scripted, speech

NO = Reply(400, b'{"error": {"message": "no"}}', "application/json")
OPTIONS = [[], ["--speed", "1.2"], ["--voice", "michael"], ["--seed", "4"]]
FIELDS: list[dict[str, Any]] = [{}, {"speed": 1.2}, {"voice": "michael"}, {"seed": 4}]


@dataclass
class Rounds:
    """One folder through many days. Every round something else goes wrong; what was finished stays or is made anew."""

    folder: Path
    server: Scripted
    draw: random.Random
    texts: list[str] = field(default_factory=lambda: [f"Line {i}." for i in range(14)])
    known: set[bytes] = field(default_factory=set)
    """Every whole sound that a file may have held."""

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def play(self, number: int) -> str:
        film = make_film(self.folder / "film.srt", self.texts)
        choice = self.draw.randrange(len(OPTIONS))
        wanted = [{"text": text, "speed": 1.0} | FIELDS[choice] for text in self.texts]
        self.known |= set(map(speech, wanted))
        before = sounds(self.out)
        held = [i for i, request in enumerate(wanted) if before.get(f"audio_{i:04d}.wav") == speech(request)]
        self.server.asked.clear()
        event = self.draw.choice(["kill", "kill", "disk", "disk", "interrupt", "refuse", "whole", "retry", "other"])
        getattr(self, event)(film, OPTIONS[choice])
        self.server.script = self.quick
        after, where = sounds(self.out), f"round {number}: {event} {OPTIONS[choice]}"
        assert after.keys() >= before.keys(), f"{where}: {before.keys() - after.keys()} is gone"
        for name, sound in after.items():
            cue = int(name[6:10])
            new = sound == speech(wanted[cue])
            assert sound in self.known and (new or sound == before.get(name)), f"{where}: {name} is neither"
        again = [i for i in held if wanted[i] in self.server.asked]
        assert not again, f"{where}: {again} were finished and are asked for again"
        if (self.out / ".checkpoint.json").exists():
            assert checkpoint(self.out)["completed"] is not None
        if self.draw.random() < 0.4:  # edited for the next round
            at = self.draw.randrange(14)
            if self.draw.random() < 0.3:  # one put in, another taken out: those between have other numbers
                self.texts.insert(self.draw.randrange(14), self.texts.pop(at))
            self.texts[at] = f"Line {number} anew."
        return event

    def quick(self, server: Scripted, line: dict[str, Any]) -> float:
        return self.draw.uniform(0.001, 0.03)

    def kill(self, film: Path, options: list[str], sign: int = signal.SIGKILL) -> None:
        with working(film, self.out, *options, servers=[self.server]) as process:
            many, end = self.draw.randrange(16), time.monotonic() + 5
            while len(self.server.asked) < many and process.poll() is None and time.monotonic() < end:
                time.sleep(0.002)
            time.sleep(self.draw.uniform(0, 0.02))
            process.send_signal(sign)
            process.communicate(timeout=20)

    def interrupt(self, film: Path, options: list[str]) -> None:
        self.kill(film, options, signal.SIGINT)

    def disk(self, film: Path, options: list[str]) -> None:
        """RLIMIT_FSIZE stands for the disk: room for nothing, half a checkpoint, half a sound."""
        room = self.draw.choice([0, 100, 1500, 4000, 20_000, 31_000, 40_000])
        limited = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # noqa: E731
        line = command(film, self.out, *options, servers=[self.server.url])
        done = subprocess.run(line, capture_output=True, text=True, preexec_fn=limited, timeout=60)
        assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0 or "File too large" in done.stderr, done.stderr

    def refuse(self, film: Path, options: list[str]) -> None:
        ill = set(self.draw.sample(self.texts, 4))
        self.server.script = lambda server, line: NO if line["text"] in ill else 0.001
        line = command(film, self.out, *options, servers=[self.server.url])
        assert subprocess.run(line, capture_output=True, timeout=60).returncode in (0, 1)

    def whole(self, film: Path, options: list[str]) -> None:
        work(film, self.out, *options, servers=[self.server])
        assert not leftovers(self.out)

    def retry(self, film: Path, options: list[str]) -> None:
        line = command(film, self.out, "--retry-failed", *options, servers=[self.server.url])
        assert subprocess.run(line, capture_output=True, timeout=60).returncode in (0, 1)

    def other(self, film: Path, options: list[str]) -> None:
        other = make_film(self.folder / "other.srt", [f"Other {i}." for i in range(14)])
        if sounds(self.out):
            work(other, self.out, *options, servers=[self.server], expect=2)


@pytest.mark.parametrize("rounds", [12, pytest.param(220, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_no_finished_file_is_lost_in_random_rounds(tmp_path: Path, rounds: int) -> None:
    with scripted() as server:
        days = Rounds(tmp_path, server, random.Random(14))
        server.script = days.quick
        played = [days.play(number) for number in range(rounds)]
        days.whole(make_film(tmp_path / "film.srt", days.texts), [])
        wanted = {f"audio_{i:04d}.wav": speech({"text": text, "speed": 1.0}) for i, text in enumerate(days.texts)}
    assert sounds(days.out) == wanted
    print(
        f"{rounds} rounds, 0 finished files lost: { ({event: played.count(event) for event in sorted(set(played))}) }"
    )
