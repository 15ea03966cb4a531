"""flite speaking: the old default voice's teacher, kept for the vocoder (a voice unlike Kokoro's) and for
comparison."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from speech import audio
from train.espeak import Spoken


def say(sentence: str, voice: str, programs: Path = Path("/")) -> Spoken:
    """`programs` holds usr/bin/flite and its libraries. Raises CalledProcessError or FileNotFoundError where they
    fail or are missing."""
    libraries = ":".join(str(folder) for folder in programs.glob("usr/lib/*-linux-*"))
    environment = os.environ | ({"LD_LIBRARY_PATH": libraries} if programs != Path("/") else {})
    with tempfile.NamedTemporaryFile(suffix=".wav", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as wav:
        command = [str(programs / "usr/bin/flite"), "-voice", voice, "-psdur", "-t", sentence, "-o", wav.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        samples, rate = audio.read_mono(wav.name)
    segments = [(name, float(end)) for name, end in re.findall(r"(\w+):([\d.]+)", said.stdout)]
    return Spoken(samples, rate, segments)
