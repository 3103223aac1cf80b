"""What a run is measured by: what its images waited for, and what a million of them would cost."""

import pytest

from pipeline.lines import DECODE_S, FETCH_S, RECOGNISE_S
from pipeline.listing import ListingFacts
from pipeline.nightly.figures import Figures


def figures(run: str, publication: int, **fields: object) -> Figures:
    facts = ListingFacts(seen=99, named=98, gone=0, repeated=0, publication=publication)
    outcomes = (("ok", "", 40), ("quarantined", "empty", 1))
    usual = {"images": 41, "seconds": 2.0, "cost_per_hour": 3.6, "steady": (300, 15.0), "recognisers": 2}
    usual |= {"measured": {RECOGNISE_S: 3.0, DECODE_S: 2.0, FETCH_S: 1.0}}
    return Figures(run=run, model="m 3", facts=facts, outcomes=outcomes, **usual | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"recognisers": 1}, "model"),
        ({"recognisers": 2, "measured": {RECOGNISE_S: 3.0, FETCH_S: 9.0, DECODE_S: 2.0}}, "fetch"),
        ({"recognisers": 0}, None),
        ({"steady": (0, 0.0)}, None),
        ({"steady": (100, 5.0)}, None),  # what is still starting, too
        ({"measured": {}}, None),
    ],
)
def test_what_the_images_waited_for_is_named(fields: dict[str, object], limit: str | None) -> None:
    assert figures("night", 1, **fields).limit == limit


def test_what_can_not_be_told_is_not_told() -> None:
    assert figures("night", 1).cost_per_million == pytest.approx(3.6 / 3600 / 20.5 * 1e6)
    assert figures("night", 1, cost_per_hour=None).cost_per_million is None
    nothing_new = figures("night", 1, images=0, steady=(0, 0.0), measured={})
    told = (nothing_new.images_per_second, nothing_new.steady_images_per_second, nothing_new.recogniser)
    assert told == (None, None, None)
    assert nothing_new.cost_per_million is None
