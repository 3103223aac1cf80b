"""What synthesis draws from: glyphs of many fonts, surfaces, and words, in one folder.

python jobs/assets.py --output out/assets --packages lean
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import tyro

from jobs.cli import Progress, parse_flags, table
from jobs.runtime import ExitCode, run_job
from pipeline.storage import join
from pipeline.synthesis.asset_builder import ABSENT, EXCLUSIONS, AssetsConfig, build_assets
from pipeline.synthesis.assets import DEFAULT_URI, Assets


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Makes assets of the fonts, words and photographs there are."""

    output: str = DEFAULT_URI
    """URI of the folder, local or s3://."""
    assets: tyro.conf.OmitArgPrefixes[AssetsConfig] = field(default_factory=AssetsConfig)
    """What they are made from."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_flags(Config, argv, "jobs/assets.py")))


def run(config: Config) -> int:
    """Makes the assets and says what is in them."""
    began = time.monotonic()
    with Progress(None, "font files") as progress:
        assets = build_assets(config.output, config.assets, lambda done, _: progress.update(done))
    print(table(("assets", "count"), _facts(assets)))
    print(f"\n{config.output}: {assets.fingerprint}, {time.monotonic() - began:.1f} s")
    print(f"Every excluded file with its reason: {join(config.output, EXCLUSIONS)}")
    if absent := assets.record["exclusions"].get(ABSENT, 0):
        print(
            f"{absent} packages that were asked for couldn't be fetched; run again to have their fonts, too."
        )
        return ExitCode.INCOMPLETE
    return ExitCode.OK


def _facts(assets: Assets) -> list[tuple[str, int]]:
    faces, record = assets.faces, assets.record
    facts = [("faces", len(faces)), ("designs", len({face.design for face in faces}))]
    for kind in sorted({face.kind for face in faces}):
        facts.append((f"  {kind}", len({face.design for face in faces if face.kind == kind})))
    held = {face.design for face in faces if face.split == "validation"}
    facts += [("  for validation", len(held)), ("characters", len(assets.characters))]
    facts.append(("excluded", sum(record["exclusions"].values())))
    facts += [(f"  {reason}", count) for reason, count in record["exclusions"].items()]
    facts.append(("glyphs of signs left out", record["signs_left_out"]))
    facts.append(("words", assets.words.num_rows))
    facts += [(f"  {name}", told["kept"]) for name, told in record["words"].items()]
    facts.append(("surfaces", len(assets.textures)))
    facts.append(("bytes", sum(file["bytes"] for file in record["files"].values())))
    return facts


if __name__ == "__main__":
    raise SystemExit(main())
