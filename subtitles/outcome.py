"""What comes of a run: the report, the track, the captions. Knows nothing of servers."""

from pathlib import Path
from typing import TYPE_CHECKING

from subtitles import captions, cues, track
from subtitles.console import say, warn
from subtitles.cues import Cue
from subtitles.options import TURN_PAUSE_SECONDS

if TYPE_CHECKING:
    from subtitles.run import Run

SPOKEN, SOME_FAILED = 0, 1
LATE_SECONDS = 0.03
MAX_NAMED = 5
"""Files named in one line."""


def report(this: "Run") -> int:
    """Prints what became of the cues, names those that failed, and returns the exit code."""
    say(*this.figures())
    unspoken = [cue for cue in this.cues if cue.index not in this.progress.completed]
    for cue in this.cues:
        if this.options.fit and cue.index in this.progress.completed:
            spoken, room = this.progress.cues[cue.index], this.rooms[cue.index]
            if spoken.seconds > room + 0.001:
                say(f"does not fit: {this.named(cue)}: {spoken.seconds:.2f} s of speech, {room:.2f} s of room")
    for cue in unspoken:
        failure = this.progress.failed.get(cue.index)
        outcome = f"failed: {this.named(cue)}: {failure['error']}" if failure else f"not tried: {this.named(cue)}"
        old = "; its file is still that of other words or settings" if cue.index in this.progress.cues else ""
        warn(outcome + old)
    spare = sorted(this.progress.cues.keys() - {cue.index for cue in this.cues})
    if spare:
        named = ", ".join(map(cues.file_name, spare[:MAX_NAMED])) + (", …" if len(spare) > MAX_NAMED else "")
        say(f"kept, though no cue of {this.options.srt.name} speaks there now: {named}")
    if this.gave_up:
        warn(this.gave_up)
    return SOME_FAILED if unspoken else SPOKEN


def mix(this: "Run", out: Path) -> bool:
    """True."""
    spoken = sorted((cue for cue in this.cues if cue.index in this.progress.completed), key=cues.in_time)
    files = ((cue.start, this.file(cue.index)) for cue in spoken)
    seconds, placed = track.mix(files, this.film_seconds, out)
    for cue, place in zip(spoken, placed, strict=True):
        this.begins[cue.index] = place.file_start
        if place.late > LATE_SECONDS:
            say(f"late: {this.named(cue)}: starts {place.late:.2f} s after its cue, when the one before has ended")
    over = seconds - this.film_seconds
    longer = f", {over:.2f} s longer than the subtitles" if over > 0.001 else ""
    say(f"{out}: {seconds:.2f} s, {len(spoken)} of {len(this.cues)} cues{longer}")
    return True


def write_captions(this: "Run", out: Path) -> bool:
    """Whether they were written: those of an earlier run stay where times are missing."""
    if this.untimed or this.gave_up:
        warn(f"{out} is not written: {this.untimed or 'not all was spoken'}; the same command goes on")
        return False
    shown = sorted((cue for cue in this.all_cues if cue.shown.strip()), key=cues.in_time)
    captions.write((_caption(this, cue) for cue in shown), out)
    say(f"{out}: {len(shown)} cues, {sum(len(one.words) for texts in this.words.values() for one in texts)} words")
    return True


def _caption(this: "Run", cue: Cue) -> captions.Caption:
    """What is not spoken stands there as it is shown."""
    texts, begins, said = this.options.spoken_by(cue), this.begins.get(cue.index, cue.start), []
    for (text, _), timed in zip(texts, this.words.get(cue.index, ()), strict=False):
        said.append(captions.Said(text, timed.words, begins))
        begins += timed.seconds + TURN_PAUSE_SECONDS
    return captions.Caption(cue.start, cue.end, said or [captions.Said(cue.shown, (), cue.start)])
