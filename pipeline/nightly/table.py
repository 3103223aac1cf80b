"""The table of transcripts: Delta's log decides what readers see, and a run appears there whole or not.

Three counters of the log, which Delta keeps per application, guard a commit:
    run:<name>     1 once the run is published
    epoch          the lease's; a commit of an older epoch than the log has seen is refused
    publication    how many runs are published; a run is published only on top of those it was compared with
Commits of one counter conflict with each other in Delta itself, so that what was checked still holds when the
commit is made. A commit whose answer got lost is looked up by its run.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import DataError, FencedError, StorageError
from pipeline.schema import TRANSCRIPT_SCHEMA
from pipeline.storage import absolute, join

if TYPE_CHECKING:
    from deltalake import DeltaTable

log = logging.getLogger(__name__)

PARTITION = "run"
TABLE_SCHEMA = pa.schema([*TRANSCRIPT_SCHEMA, pa.field(PARTITION, pa.string(), nullable=False)])
"""What readers of the table see: the files' columns, and the run, which is in the paths."""
CURRENT = """
SELECT * FROM published
QUALIFY row_number() OVER (PARTITION BY uri, member ORDER BY publication DESC) = 1
"""
"""The newest row of everything, for DuckDB, which knows the table as published."""
_TRIES = 9
_COMMITS = 100
"""Commits to look through for the last that published a run; the others but fence runs off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFile:
    """A Parquet file to be published."""

    path: str
    """Below the table."""
    bytes: int
    rows: int


class TranscriptTable:
    """The table below an output, which need not exist yet."""

    def __init__(self, output_uri: str) -> None:
        self.uri = join(absolute(output_uri), "table")

    def is_published(self, run: str) -> bool:
        """Whether readers see a run.

        Raises:
            StorageError: The log can't be read.
        """
        table = self._open()
        return table is not None and table.transaction_version(f"run:{run}") == 1

    def publications(self) -> int:
        """How many runs are published.

        Raises:
            StorageError: The log can't be read.
        """
        table = self._open()
        return (table and table.transaction_version("publication")) or 0

    def last_run(self) -> str | None:
        """The name of the run that was published last; None where there is none yet.

        Raises:
            StorageError: The log can't be read.
        """
        table = self._open()
        commits = table.history(_COMMITS) if table is not None else []
        return next((commit["run"] for commit in commits if commit.get("run")), None)

    def rows(self) -> Any:
        """The published rows as a pyarrow data set; None where there are none yet.

        Raises:
            StorageError: The log can't be read.
        """
        table = self._open()
        return table and table.to_pyarrow_dataset()

    def fence(self, epoch: int) -> None:
        """Refuses commits of older epochs from now on.

        Raises:
            FencedError: The log knows a newer epoch.
            StorageError: The log can't be read or written.
        """

        def write(table: "DeltaTable") -> bool:
            if (table.transaction_version("epoch") or 0) == epoch:
                return True
            self._commit(table, [], {"epoch": epoch})
            return False

        self._until_done(epoch, write)

    def publish(
        self,
        run: str,
        files: Sequence[TableFile],
        *,
        epoch: int,
        publication: int,
        check: Callable[[], None],
    ) -> None:
        """Makes a run's files visible, all at once; does nothing where they are.

        Args:
            run: Its name.
            files: All of its files.
            epoch: Of the lease that is held.
            publication: Which it will be, counted from 1: the run was compared with all before.
            check: Called right before the commit; may raise.

        Raises:
            FencedError: A newer epoch is known, or another run was published since this one was planned.
            StorageError: The log can't be read or written.
        """

        def write(table: "DeltaTable") -> bool:
            if table.transaction_version(f"run:{run}") == 1:
                return True
            before = table.transaction_version("publication") or 0
            if before != publication - 1:
                raise FencedError(
                    f"{self.uri}: {before} runs are published, but run {run} was planned on top of "
                    f"{publication - 1}: its rows may be there already. Start a run of another name."
                )
            check()
            self._commit(table, files, {f"run:{run}": 1, "epoch": epoch, "publication": publication}, run)
            return False

        self._until_done(epoch, write)

    def _until_done(self, epoch: int, write: Callable[["DeltaTable"], bool]) -> None:
        """Writes until the log shows it: neither a lost answer nor a conflict is taken at its word."""
        from deltalake.exceptions import DeltaError

        failure: Exception | None = None
        for attempt in range(_TRIES):
            time.sleep(0.05 * (2**attempt - 1))  # nothing at first, 13 s in all
            table = self._open()
            if table is None:
                failure = self._create()
                continue
            known = table.transaction_version("epoch") or 0
            if known > epoch:
                raise FencedError(
                    f"{self.uri}: a run with lease {known} came after this one's {epoch}. It publishes "
                    "nothing; its finished shards are kept."
                )
            try:
                if write(table):
                    return
            except (DeltaError, OSError) as error:
                log.debug("A commit to %s has to be looked up: %s", self.uri, error)
                failure = error
        raise StorageError(
            f"{self.uri}: the commit fails again and again ({failure}). Check the store, and run again."
        ) from failure

    def _commit(
        self, table: "DeltaTable", files: Sequence[TableFile], counters: dict[str, int], run: str = ""
    ) -> None:
        from deltalake import CommitProperties, Transaction
        from deltalake.transaction import AddAction, RemoveAction

        actions: list[AddAction | RemoveAction] = [
            AddAction(
                path=file.path,
                size=file.bytes,
                partition_values={PARTITION: run},
                modification_time=0,
                data_change=True,
                stats=json.dumps({"numRecords": file.rows}),
            )
            for file in files
        ]
        properties = CommitProperties(
            app_transactions=[Transaction(name, value) for name, value in counters.items()],
            max_commit_retries=0,  # a retry on top of another commit would not repeat the checks
            custom_metadata={"run": run},
        )
        table.create_write_transaction(
            actions=actions,
            mode="append",
            schema=table.schema(),
            partition_by=[PARTITION],
            commit_properties=properties,
        )

    def _open(self) -> "DeltaTable | None":
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            table = DeltaTable(self.uri, storage_options=_options(self.uri))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise StorageError(f"Can't read the log of {self.uri}: {error}. Run the same again.") from error
        if [field.name for field in table.schema().fields] != TABLE_SCHEMA.names:
            raise DataError(
                f"{self.uri} has the columns of another version of this code. Go on with that one, or give "
                "this one another --output."
            )
        return table

    def _create(self) -> Exception | None:
        """Makes an empty table unless somebody else does; what came in the way, which says little."""
        from deltalake import Schema
        from deltalake.exceptions import DeltaError
        from deltalake.transaction import create_table_with_add_actions

        try:
            create_table_with_add_actions(
                self.uri,
                Schema.from_arrow(TABLE_SCHEMA),
                [],
                mode="error",
                partition_by=[PARTITION],
                storage_options=_options(self.uri),
            )
        except (DeltaError, OSError) as error:
            return error
        return None


def _options(uri: str) -> dict[str, str] | None:
    """What the library doesn't take from the environment by itself; never a credential."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL"))
    if not uri.startswith("s3://") or not endpoint:
        return None
    return {"aws_endpoint_url": endpoint, "aws_allow_http": str(endpoint.startswith("http://")).lower()}
