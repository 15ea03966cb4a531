"""The engine without any server: a JSON request per line in, the seconds it took in process out. What every rival is
measured against.

Try: echo '{"text": "Hello there."}' | python -m bench.inprocess
"""

import json
import sys
import time

from bench.layered.front import spoken
from speech.request import Speech
from tts_core import TTS


def main() -> None:
    tts = TTS()
    print(json.dumps({"ready": True, "model": tts.model, "torch": "torch" in sys.modules}), flush=True)
    for line in sys.stdin:
        speech = Speech(**json.loads(line))
        began = time.perf_counter()
        samples = spoken(tts, speech)
        print(json.dumps({"seconds": time.perf_counter() - began, "samples": len(samples)}), flush=True)


if __name__ == "__main__":
    main()
