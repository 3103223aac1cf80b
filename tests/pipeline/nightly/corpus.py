"""A folder of images and the table of their rows, night after night, without anybody who reads them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.listing import ListingFacts
from pipeline.nightly.plan import PlanConfig, make_plan
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import write_atomic
from tests.pipeline.nightly.test_table import nothing, put, row


class Corpus:
    """A folder of images and the table of their rows; a night publishes what is planned."""

    def __init__(self, folder: str, **options: Any) -> None:
        self.source, self.table = f"{folder}/in", TranscriptTable(f"{folder}/out")
        usual = {"include": ("*",), "suffixes": (), "policy": "new_only", "limit": None}
        usual |= {"allow_shrink": True, "index_uri": f"{folder}/out/archives"}
        self.config = PlanConfig(source=self.source, **usual | options)
        self.nights = 0

    def write(self, key: str, data: str = "") -> None:
        write_atomic(f"{self.source}/{key}", data.encode())

    def remove(self, key: str) -> None:
        Path(f"{self.source}/{key}").unlink()

    def plan(self, digest: str = "d", **changes: Any) -> tuple[ListingFacts, list[dict[str, Any]]]:
        config = replace(self.config, **changes)
        with make_plan(config, self.table, digest=digest, decoder=1) as plan:
            rows = [each for table in plan.rows for each in table.to_pylist()]
            assert plan.new == sum(not each["gone"] for each in rows)
            assert plan.bytes == sum(each["size"] for each in rows if not each["gone"])
        return plan.facts, rows

    def night(self, digest: str = "d", superseded: Sequence[str] = (), **changes: Any) -> dict[str, str]:
        """Status by key of what was published; these keys were overwritten before they were read."""
        facts, rows = self.plan(digest, **changes)
        self.nights += 1
        done = [
            row(
                each["key"],
                facts.publication,
                member=each["member"],
                position=each["position"],
                box=each["box"],
                input_id=each["input_id"],
                uri=each["uri"],
                etag=each["etag"],
                size=each["size"],
                status="deleted" if each["gone"] else "superseded" if each["key"] in superseded else "ok",
                model_digest=digest,
                id=f"{each['input_id']} {digest} {each['earlier_rows']} {each['gone']}",
            )
            for each in rows
        ]
        if done:
            files = [put(self.table, f"n{self.nights}", *done)]
            self.table.publish(
                f"n{self.nights}", files, epoch=self.nights, publication=facts.publication, check=nothing
            )
        return {each["key"]: each["status"] for each in done}
