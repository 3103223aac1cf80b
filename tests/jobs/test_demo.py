"""The loop from end to end: each job on what the one before it left; a second start takes it all up."""

import re
from pathlib import Path

import pytest
import ray

from crnn.checkpoint import Bundle
from crnn.recognizer import Recognizer
from crnn.shipped import bundle_folder
from jobs.demo import STRANGE, main
from jobs.runtime import ExitCode
from pipeline.manifest import Manifest
from pipeline.nightly.table import TranscriptTable
from pipeline.runs import finished

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
FLAGS = ["--output", "out/demo", "--rows", "400", "--images", "400", "--held-out", "40"]
FLAGS += ["--photographs", "out/demo/data/validation"]  # stand in for real ones


def test_the_loop_ends_with_every_file_read_and_a_second_start_makes_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(FLAGS) == ExitCode.OK
    told = capsys.readouterr().out
    assert not ray.is_initialized()
    run = finished("out/demo/runs/demo")
    assert run is not None
    # What the night read from files is what the bundle reads from them.
    rows = TranscriptTable("out/demo/transcripts").rows().to_table().to_pylist()
    read = {row["key"]: (row["text"], row["log_prob"]) for row in rows if row["text"] is not None}
    hypotheses = Recognizer.load(f"{run.checkpoint_uri}/bundle")([f"out/demo/images/{key}" for key in read])
    assert len(read) >= 40
    assert list(read.values()) == [(h.text, pytest.approx(h.log_prob, abs=1e-3)) for h in hypotheses]
    assert len({round(h.log_prob, 6) for h in hypotheses}) > 30
    # It begins with what comes with the package, and keeps the language model that this reads with.
    start, tuned = Bundle.load(bundle_folder("latin94-small")), Bundle.load(f"{run.checkpoint_uri}/bundle")
    assert tuned.provenance["started_from"]["fingerprint"] == start.fingerprint
    assert tuned.language is not None
    assert start.language is not None
    assert tuned.language.model.log_prob("hotel") == start.language.model.log_prob("hotel")
    assert re.search(r"photographs +none +40 ", told)
    assert re.search(r"rows +400 to learn from, 0 rejected", told)
    assert re.search(r"models:/crnn@champion is (version )?1 now", told)
    manifests = [Manifest.read(f"out/demo/data/{split}") for split in ("train", "validation")]
    assert [m.rows for m in manifests] == [400, 40]
    assert main(FLAGS) == ExitCode.OK
    again = capsys.readouterr().out
    assert "was finished before" in again
    assert [Manifest.read(f"out/demo/data/{split}") for split in ("train", "validation")] == manifests
    assert len(list(Path("out/demo/images").iterdir())) == 40 + len(STRANGE)
