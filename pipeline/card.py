"""The model card of a shipped recogniser, in Markdown: what it was made of, and how well it reads."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crnn.checkpoint import Bundle
from crnn.metrics import Counts
from crnn.model import count_parameters, forward_flops
from pipeline.breakdown import by_length, trust
from pipeline.calibrate import ALONE, WHOLE
from pipeline.evaluation import EvaluationReport, accuracy_interval

SHEET = "errors-{}.png"
"""File name of a set's picture of errors, beside the card."""
_PROVENANCE = ("revision", "code", "python", "versions", "images_seen", "started_from")
"""What of a checkpoint's provenance may be published; the rest tells of somebody's machine."""

_CHOSEN_ON = (
    "how much it has to say was chosen on SVT's and a third of IIIT5K's and IC15's training photographs"
)
"""What `pipeline.language.READING` was judged by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How the weights came about."""

    run: str
    """Name of the run."""
    command: str
    """That trains it again."""
    data: str
    """Fingerprint of the data set."""
    rows: int
    """Pictures in it."""
    seed: int
    """Of the weights and of the order of the data."""
    images: int
    """Pictures seen."""
    hours: float
    """Wall clock, start-up and looks at held-out words aside."""
    hardware: str
    fonts: int
    """Faces that the pictures were drawn with, or could have been."""
    licences: Mapping[str, int]
    """Of these faces: number of faces by licence."""

    def as_dict(self, provenance: Mapping[str, Any]) -> dict[str, Any]:
        """For the provenance of the shipped bundle, with what may be told of the checkpoint's."""
        kept = {key: provenance[key] for key in _PROVENANCE if key in provenance}
        return kept | {"run": self.run, "seed": self.seed, "data": self.data, "hours": round(self.hours, 2)}


def licences_of(faces: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Faces by licence, the most frequent first; from the list in a folder of assets."""
    return dict(Counter(str(face["licence"]) for face in faces).most_common())


def model_card(
    name: str,
    bundle: Bundle,
    training: Training,
    reports: Sequence[EvaluationReport],
    bare: EvaluationReport | None = None,
    *,
    reader: str,
) -> str:
    """The card.

    Args:
        name: Of the model.
        bundle: As it is shipped.
        training: Where it comes from.
        reports: Of this very bundle on the same sets, under one protocol each; the first is the field's.
        bare: The same as the first, read without the language model and further looks, where there is one.
        reader: The processor that read.
    """
    model, main = bundle.model(), reports[0]
    flops = forward_flops(bundle.network, bundle.charset.num_classes, 100)
    share = " and ".join(part.name for part in main.sets)
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Reads words in photographs: {bundle.charset.num_classes - 1} characters, "
            f"`{''.join(bundle.charset.characters)}`. {count_parameters(model):,} parameters, "
            f"{flops / 1e9:.2f} GFLOP a word of 100 pixels, fingerprint `{bundle.fingerprint}`.",
            "",
            "```python",
            f'recognizer = Recognizer.load("{name}")',
            "```",
            "",
            "## How well it reads",
            "",
            "On photographs that were not trained on. Word accuracy in %, with 95 % intervals.",
            "",
            *_accuracy(reports, bare),
            "",
            *(f"`{report.protocol.name}`: {report.protocol.says}." for report in reports),
            f"`images/s`: decoding and reading by one process on {reader}.",
            "",
            "By length, in characters:",
            "",
            *_lengths(main),
            "",
            _calibrated(bundle.provenance),
            "",
            *_trust(main),
            "",
            f"What it gets wrong, the surest first, of {share}:",
            "",
            *(f"![Errors on {part.name}]({SHEET.format(part.name)})" for part in main.sets),
            "",
            "## How it was made",
            "",
            *_table(("", ""), _facts(training, bundle)),
            "",
            f"{_pictures(bundle)} To train it again, on pictures as the release at hand draws them:",
            "",
            "```bash",
            training.command,
            "```",
            "",
            f"Licences of the {training.fonts:,} faces in the assets, all of Debian's free archive: "
            + ", ".join(f"{licence} ({n})" for licence, n in training.licences.items())
            + ". Words, those in language.safetensors too: wordfreq (Apache-2.0, CC-BY-SA 4.0 for its data) "
            "and Debian's word lists.",
            "",
        ]
    )


def _pictures(bundle: Bundle) -> str:
    start = bundle.provenance.get("started_from")
    when = f" since it began with `{start['uri']}`" if start else ", labelled or not"
    return f"No photograph was trained on{when}: every picture was rendered by `jobs/synthesize.py`."


def _accuracy(reports: Sequence[EvaluationReport], bare: EvaluationReport | None) -> list[str]:
    headers = [
        "set",
        "images",
        *(report.protocol.name for report in reports),
        "CER %",
        "images/s",
        "rejected",
    ]
    rows: list[list[Any]] = []
    blank = [""] * (len(reports) - 1)
    for part, *others in zip(*(report.sets for report in reports), strict=True):
        read = [_share(other.counts) for other in (part, *others)]
        cer, rejected = f"{100 * part.counts.cer:.1f}", sum(part.rejected.values())
        rate = f"{part.images_per_second:.0f}"
        rows.append([part.name, f"{part.counts.words:,}", *read, cer, rate, rejected])
        further = [(f"lexicon {lexicon}", counts, "") for lexicon, counts in part.lexicons.items()]
        if bare:
            alone = next(each for each in bare.sets if each.name == part.name)
            further = [("network alone", alone.counts, f"{alone.images_per_second:.0f}"), *further]
        for manner, counts, rate in further:
            name, cer = f"{part.name}, {manner}", f"{100 * counts.cer:.1f}"
            rows.append([name, f"{counts.words:,}", _share(counts), *blank, cer, rate, ""])
    return _table(headers, rows)


def _share(counts: Counts) -> str:
    low, high = accuracy_interval(counts)
    return f"{100 * counts.word_accuracy:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _lengths(report: EvaluationReport) -> list[str]:
    found = {part.name: by_length(part.counted) for part in report.sets}
    named = {length for groups in found.values() for length in groups}
    lengths = sorted(named, key=lambda length: int(length.split()[0]))
    return _table(
        ["set", *lengths],
        [
            [name, *(f"{100 * g[n].word_accuracy:.0f} ({g[n].words})" if n in g else "" for n in lengths)]
            for name, g in found.items()
        ],
    )


def _calibrated(provenance: Mapping[str, Any]) -> str:
    done, alone = provenance[WHOLE], provenance.get(ALONE)
    besides = ""
    if alone:
        errors = f"{alone['error_after']:.3f} ({alone['error_before']:.3f} by these)"
        besides = f"; confidences of the network alone are fitted apart: {errors}"
    return (
        "Confidence is the probability that the text is right as written, capitals and punctuation included, "
        f"fitted on {done['words']:,} words of {', '.join(done['data'])}: its error on words that were not "
        f"fitted is {done['error_after']:.3f} ({done['error_before']:.3f} before){besides}. Below, errors "
        "and shares under the first protocol."
    )


def _trust(report: EvaluationReport) -> list[str]:
    rows: list[list[Any]] = []
    for part in report.sets:
        measured = trust(part.counted)
        coverage = [f"{100 * share:.0f} %" for share, _ in measured.coverage.values()]
        rows.append([part.name, f"{measured.calibration_error:.3f}", *coverage])
    return _table(("set", "calibration error", "no review at 95 %", "no review at 99 %"), rows)


def _facts(training: Training, bundle: Bundle) -> list[tuple[str, Any]]:
    return [
        ("run", training.run),
        ("code", f"`{bundle.provenance.get('revision', 'unknown')}`"),
        ("pictures", f"{training.images:,} seen, of {training.rows:,} (data set `{training.data}`)"),
        ("began with", _origin(bundle.provenance.get("started_from"))),
        ("seed", training.seed),
        ("language model", _language(bundle)),
        ("hardware", training.hardware),
        ("hours", f"{training.hours:.1f}"),
    ]


def _language(bundle: Bundle) -> str:
    if bundle.language is None:
        return "none"
    reads = bundle.language
    model, config, vocabulary = reads.model, reads.config, reads.vocabulary
    looks = f"; confidences below {config.looks_below:g} bring further looks" if config.looks_below else ""
    words = f", and {len(vocabulary):,} words by their frequency" if vocabulary else ""
    chosen = f"; {_CHOSEN_ON}" if vocabulary else ""
    return (
        f"{model.order}-gram of characters, learnt from strings of the generator's training split{words}; "
        f"weight {config.weight:g}, asked where the best path is below {config.sure:g}{looks}{chosen}"
    )


def _origin(start: Mapping[str, Any] | None) -> str:
    if start is None:
        return "random weights"
    return f"`{start['uri']}` `{start['fingerprint']}`, after {start['images_seen']:,} pictures"


def _table(headers: Sequence[Any], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [headers, ["---"] * len(headers), *rows]
    return [f"| {' | '.join(str(value) for value in line)} |" for line in lines]
