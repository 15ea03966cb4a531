"""A subtitle file becomes speech: one sound file per cue, or one track that fits the film. A client of the server; loads no model.

Try: python tts_worker.py --srt examples/harbour.srt --track harbour.wav        (in another terminal: make serve)
"""

import argparse
import sys
from pathlib import Path

from subtitles import check, cues
from subtitles.cues import BadSubtitle
from subtitles.options import BadUsage, RunOptions, read_voices
from subtitles.progress import BadCheckpoint
from subtitles.run import SPOKEN, run
from subtitles.servers import Incompatible, Rejected, Unavailable

BAD_USAGE, INTERRUPTED = 2, 130


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
        servers = tuple(dict.fromkeys(url.rstrip("/") for url in chosen.server or ["http://127.0.0.1:8000"]))
        fit = bool(chosen.track) if chosen.fit is None else chosen.fit
        options = RunOptions(
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
        all_cues, encoding = cues.read(options.srt)
        if not encoding.startswith("utf"):
            print(
                f"{options.srt} is not UTF-8 and was read as {encoding}; if letters are wrong, save it as UTF-8",
                file=sys.stderr,
            )
        if chosen.check:
            print(*check.report(all_cues, options.srt, voices, options.max_speed), sep="\n")
            return SPOKEN
        if unknown := check.unmapped_speakers(all_cues, voices):
            print(unknown, file=sys.stderr)
        return run(options, all_cues)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Unavailable as error:
        print(f"no server answers: {error}; start one, or correct --server", file=sys.stderr)
    except Rejected as error:
        print(f"{error}; is --server the address alone, such as http://127.0.0.1:8000?", file=sys.stderr)
    except (BadUsage, BadSubtitle, BadCheckpoint, Incompatible) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"cannot go on: {error.strerror or error}: {error.filename or chosen.output}", file=sys.stderr)
    return BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
