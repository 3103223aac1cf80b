"""Whole runs with a model's language model and without: two models' readings in one table."""

from dataclasses import replace
from pathlib import Path

import pytest

from crnn.checkpoint import Bundle
from crnn.fusion import Fusion, FusionConfig
from crnn.language_model import CharacterModel
from crnn.recognizer import Recognizer
from pipeline.transcribe_config import TranscribeConfig
from tests.pipeline.test_transcription import fill, good, rows, run

# Ray Data warns of its own defaults.
pytestmark = pytest.mark.filterwarnings(r"ignore:.*is deprecated:DeprecationWarning:ray\.data\.context")


def test_reading_without_the_language_model_is_another_model_s_reading(
    local_ray: None, untrained_bundle: Path, tmp_path: Path
) -> None:
    bundle = Bundle.load(untrained_bundle)
    spelling = CharacterModel(["word0", "word1", "hello"], bundle.charset)
    language = Fusion(model=spelling, config=FusionConfig(weight=2.0))
    replace(bundle, language=language).save(tmp_path / "worded")
    source = fill(f"{tmp_path}/in", good())
    config = TranscribeConfig(
        input=source, output=f"{tmp_path}/out", model=f"{tmp_path}/worded", run="words", shard_rows=20
    )
    bare = replace(config, run="codes", language=False, policy="backfill")
    assert [run(each)[1].rows for each in (config, bare, replace(bare, run="again"))] == [14, 14, 0]
    recognizers = {each.run: Recognizer.load(config.model, language=each.language) for each in (config, bare)}
    pictures = good()
    alone = {
        name: {key: reader([data])[0].text for key, data in pictures.items()}
        for name, reader in recognizers.items()
    }
    assert alone["words"] != alone["codes"]
    for each, digest in ((config, Bundle.load(config.model).fingerprint), (bare, bundle.fingerprint)):
        found = rows(each)
        assert {key: row["text"] for key, row in found.items()} == alone[str(each.run)]
        assert {row["model_digest"] for row in found.values()} == {digest}
