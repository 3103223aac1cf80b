"""How fast TextRecognitionDataGenerator is: a JSON object of its settings with pictures a second, per round.

Run by its own Python: out/peers/trdg/bin/python infra/peers/measure_trdg.py ROUNDS SECONDS
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")  # its libraries deprecate each other

from trdg.generators import GeneratorFromDict  # noqa: E402

BENT = {"skewing_angle": 5, "random_skew": True, "blur": 1, "random_blur": True, "distorsion_type": 3}
SETTINGS = {
    "trdg, plain white": {"background_type": 1},
    "trdg, noise, askew, blurred, wavy": {"background_type": 0, "distorsion_orientation": 2, **BENT},
    "trdg, quasicrystal, askew, blurred, wavy": {"background_type": 2, "distorsion_orientation": 2, **BENT},
}


def main(rounds: int, seconds: float) -> None:
    """Prints the rates, by this process's own time."""
    found = {}
    for name, setting in SETTINGS.items():
        pictures = GeneratorFromDict(length=1, size=32, **setting)
        next(pictures)
        found[name] = []
        for _ in range(rounds):
            began, done = time.process_time(), 0
            while time.process_time() - began < seconds:
                next(pictures)
                done += 1
            found[name].append(done / (time.process_time() - began))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
