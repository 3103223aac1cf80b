"""The whole loop on this machine, each step by its own job: synthesize, train, evaluate, transcribe.

python jobs/demo.py
"""

import io
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from crnn.charset import CHARSETS
from crnn.preprocess import decode_image
from jobs import evaluate, synthesize, train, transcribe
from jobs.cli import cell, parse_flags, table
from jobs.recipes import demo as recipe
from jobs.runtime import ExitCode, connect_ray, run_job
from pipeline.audit import read_audit
from pipeline.manifest import NAME, Manifest
from pipeline.nightly.table import TranscriptTable
from pipeline.registry import register_bundle
from pipeline.resume import BUNDLE
from pipeline.runs import finished
from pipeline.shards import read_shard
from pipeline.storage import exists, join, local_copy

STRANGE = {
    "empty.png": b"",
    "letter.png": b"Dear reader, this is no picture.",
    "cut_off.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
}
"""Files such as every folder of pictures has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoConfig:
    """Runs every job once, beginning with the package's small model, on easy words; what an earlier start has
    finished is taken up."""

    output: str = "out/demo"
    """Local folder for the data sets, the run, the pictures to read and their transcripts."""
    rows: int = 16_000
    """Pictures to learn from."""
    images: int = recipe().images
    """Pictures to see in training, over as many epochs as that takes."""
    held_out: int = 1_000
    """Pictures of other words, to look at while training and to read at the end."""
    photographs: str | None = None
    """URI of labelled photographs to read at the end, too: a data set of jobs/ingest.py."""


class Demo:
    """The steps, and how long each took."""

    def __init__(self, config: DemoConfig) -> None:
        self.config = config
        self.train_set = join(config.output, "data/train")
        self.held_out = join(config.output, "data/validation")
        self.images = join(config.output, "images")
        self.transcripts = join(config.output, "transcripts")
        self.seconds: dict[str, float] = {}
        done_before = {
            "synthesis": exists(join(self.train_set, NAME)),
            "training": finished(join(config.output, "runs", recipe().name)) is not None,
            "transcription": TranscriptTable(self.transcripts).is_published("demo"),
        }
        self.there = {stage for stage, done in done_before.items() if done}
        """Stages that an earlier start has finished: their seconds say nothing of a rate."""

    def step(self, name: str, job: Callable[[Sequence[str]], int], file: str, *arguments: str) -> None:
        """Runs a job as its command line would.

        Raises:
            SystemExit: It failed, and has said why.
        """
        print(f"\n$ python {file} {shlex.join(arguments)}", flush=True)
        began = time.monotonic()
        code = job(arguments)
        self.seconds[name] = time.monotonic() - began
        if code:
            raise SystemExit(code)

    def run(self) -> None:
        """All steps in a row."""
        config, out = self.config, self.config.output
        easy = ("easy", "--shard-rows", "4000")
        self.step(
            "synthesis",
            synthesize.main,
            "jobs/synthesize.py",
            *easy,
            "--output",
            self.train_set,
            "--rows",
            str(config.rows),
        )
        held_out = ("--output", self.held_out, "--rows", str(config.held_out), "--split", "validation")
        self.step("held-out words", synthesize.main, "jobs/synthesize.py", *easy, *held_out)
        learnt = ("--data", self.train_set, "--validation", f"held_out={self.held_out}")
        kept = ("--output", join(out, "runs"), "--images", str(config.images))
        self.step("training", train.main, "jobs/train.py", "demo", *learnt, *kept)
        # By its version: whoever has trained another since finds the demo as it was.
        done = finished(join(out, "runs", recipe().name))
        assert done is not None
        with local_copy(join(done.checkpoint_uri, BUNDLE) + "/") as bundle:
            model = f"models:/crnn/{register_bundle(bundle, 'crnn')}"
        judged = ("--model", model, "--data", f"held_out={self.held_out}", "--promote")
        self.step(
            "evaluation", evaluate.main, "jobs/evaluate.py", *judged, "--output", join(out, "evaluation")
        )
        self.truths = lay_out(self.held_out, Path(self.images))
        read = (
            "--input",
            self.images,
            "--output",
            self.transcripts,
            "--model",
            model,
            "--run",
            "demo",
        )
        self.step("transcription", transcribe.main, "jobs/transcribe.py", *read)
        if config.photographs:
            real = ("--model", model, "--data", f"photographs={config.photographs}")
            self.step("photographs", evaluate.main, "jobs/evaluate.py", *real)

    def tell(self) -> str:
        """What came of it, for a person."""
        run_uri = join(self.config.output, "runs", recipe().name)
        done, audited = finished(run_uri), read_audit(join(run_uri, "audit"))
        assert done is not None
        assert audited is not None
        rows = TranscriptTable(self.transcripts).rows().to_table().to_pylist()
        charset = CHARSETS[recipe().charset]
        read = {row["key"]: row["text"] for row in rows}
        right = sum(charset.normalize(truth) == read.get(key) for key, truth in self.truths.items())
        rejected = Counter(row["reason"] for row in rows if row["text"] is None)
        images = {
            "synthesis": self.config.rows,
            "training": done.images_seen,
            "evaluation": self.config.held_out,
            "transcription": len(rows),
        }
        stages = [
            (name, n, round(s), round(n / s) if name not in self.there else None)
            for name, n in images.items()
            for s in (self.seconds[name],)
        ]
        score = done.metrics
        accuracy = score["validation/held_out/word_accuracy"]
        facts = [
            ("rows", f"{cell(audited.read)} to learn from, {cell(audited.read - audited.kept)} rejected"),
            (
                "word accuracy",
                f"{accuracy:.1%} on {cell(self.config.held_out)} held-out words, by the network alone",
            ),
            ("CER", f"{score['validation/held_out/cer']:.2%}"),
            ("training", f"{cell(done.images_per_s)} images/s, start-up and checkpoints aside"),
            ("read from files", f"{right / len(self.truths):.1%} of the same words, as PNG files"),
            ("rejected files", ", ".join(f"{reason} {count}" for reason, count in sorted(rejected.items()))),
            ("transcripts", TranscriptTable(self.transcripts).uri),
        ]
        width = max(len(name) for name, _ in facts)
        told = [f"{name.ljust(width)}  {value}" for name, value in facts]
        return "\n".join([table(("stage", "images", "seconds", "images/s"), stages), "", *told, "", NEXT])


NEXT = """Next:
  make ui                                                          browse the run, its curves and pictures
  .venv/bin/python jobs/transcribe.py --input FOLDER --output out/mine      read pictures of your own
  .venv/bin/python jobs/train.py small --help                               train on more than a demo"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; its exit code is that of the first job that fails."""
    return run_job(lambda: run(parse_flags(DemoConfig, argv, "jobs/demo.py")))


def run(config: DemoConfig) -> int:
    """Runs the jobs one after the other on one Ray, and says what came of them."""
    demo = Demo(config)
    with connect_ray():
        demo.run()
    print(f"\n{demo.tell()}")
    return ExitCode.OK


def lay_out(data_uri: str, folder: Path) -> dict[str, str]:
    """Writes a data set's pictures as PNG files, beside files that are none; returns the texts by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in STRANGE.items():
        (folder / name).write_bytes(data)
    truths: dict[str, str] = {}
    for shard in Manifest.read(data_uri).shards:
        for row in read_shard(data_uri, shard, columns=["id", "image", "text"]).to_pylist():
            name = f"{row['id']}.png"
            buffer = io.BytesIO()
            Image.fromarray(decode_image(row["image"])).save(buffer, "PNG")
            (folder / name).write_bytes(buffer.getvalue())
            truths[name] = row["text"]
    return truths


if __name__ == "__main__":
    raise SystemExit(main())
