"""A subtitle file becomes speech: one sound file per cue, or one track that fits the film.

A client of the server; loads no model.

Try: python tts_worker.py --srt examples/harbour.srt --track harbour.wav        (in another terminal: make serve)
"""

import os
import signal

if __name__ == "__main__":  # Ctrl+C while modules are loaded: there is nothing yet to save or to say
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import io
import sys
from pathlib import Path

from subtitles import check, cues
from subtitles.console import say, warn
from subtitles.cues import BadSubtitle
from subtitles.interrupt import Interrupt
from subtitles.options import BadUsage, RunOptions, read_voices
from subtitles.outcome import SPOKEN
from subtitles.progress import BadCheckpoint
from subtitles.run import run
from subtitles.servers import Incompatible, Rejected, Unavailable

BAD_USAGE, INTERRUPTED = 2, 130


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        description="Speak a subtitle file: one sound file per cue, or one track that fits the film. "
        "Run again, it goes on where it stopped.",
        epilog="A server that wants a key is sent the one in the environment's TTS_API_KEY. "
        "Exit codes: 0 all spoken, 1 some failed (named), 2 bad usage or file, 130 interrupted after saving.",
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
    options.add_argument("--captions", type=Path, metavar="OUT.VTT", help="also write captions, word by word")
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


def options_of(chosen: argparse.Namespace) -> RunOptions:
    """Raises BadUsage, OSError."""
    return RunOptions(
        srt=chosen.srt,
        output=chosen.output,
        servers=tuple(dict.fromkeys(url.rstrip("/") for url in chosen.server or ["http://127.0.0.1:8000"])),
        workers=chosen.workers,
        speed=chosen.speed,
        voice=chosen.voice,
        voices=read_voices(chosen.voices) if chosen.voices else {},
        seed=chosen.seed,
        fit=bool(chosen.track) if chosen.fit is None else chosen.fit,
        max_speed=chosen.max_speed,
        track=chosen.track,
        retry_failed=chosen.retry_failed,
        patience=chosen.patience,
        voices_file=chosen.voices,
        captions=chosen.captions,
        api_key=os.environ.get("TTS_API_KEY", ""),
    )


def work(chosen: argparse.Namespace, interrupt: Interrupt) -> int:
    options = options_of(chosen)
    all_cues, encoding = cues.read(options.srt)
    if not encoding.startswith("utf"):
        warn(f"{options.srt} is not UTF-8 and was read as {encoding}; if letters are wrong, save it as UTF-8")
    if chosen.check:
        say(*check.report(all_cues, options.srt, options.voices, options.max_speed))
        return SPOKEN
    if unknown := check.unmapped_speakers(all_cues, options.voices):
        warn(unknown)
    return run(options, all_cues, interrupt)


def main() -> int:
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    chosen = parser().parse_args()
    interrupt = Interrupt()
    interrupt.install()
    try:
        return work(chosen, interrupt)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Unavailable as error:
        warn(f"no server answers: {error}; start one, or correct --server")
    except Rejected as error:
        warn(f"{error}; is --server the address alone, such as http://127.0.0.1:8000?")
    except (BadUsage, BadSubtitle, BadCheckpoint, Incompatible) as error:
        warn(error)
    except OSError as error:
        warn(f"cannot go on: {error.strerror or error}: {error.filename or chosen.output}")
    return BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
