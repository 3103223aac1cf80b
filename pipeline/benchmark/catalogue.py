"""The stages that can be measured, by name, in the order of the pipeline."""

from collections.abc import Mapping

from pipeline.benchmark.decoding import decoding
from pipeline.benchmark.end_to_end import end_to_end
from pipeline.benchmark.measure import Stage
from pipeline.benchmark.night import night
from pipeline.benchmark.peers import peers
from pipeline.benchmark.recognition import preparation, recognition
from pipeline.benchmark.synthesis import synthesis
from pipeline.benchmark.training import feed, step
from pipeline.benchmark.transcription import transcription

STAGES: Mapping[str, Stage] = {
    "synthesise": synthesis,
    "peers": peers,
    "feed": feed,
    "step": step,
    "end-to-end": end_to_end,
    "prepare": preparation,
    "recognise": recognition,
    "transcribe": transcription,
    "night": night,
    "decode": decoding,
}
"""Each stage's docstring says what it measures and what bounds it."""

USUAL: tuple[str, ...] = tuple(name for name in STAGES if name != "night")
"""Those that are measured where none are named: a night needs minutes, and the packages of transcription."""
