import subprocess
import sys

import pyarrow as pa
import pytest

from pipeline.transcription_stages import Packed, pack, unpack


@pytest.mark.parametrize("table", [None, pa.table({"x": [1, 2]}), pa.table({"x": pa.array([], pa.string())})])
@pytest.mark.parametrize("fault", [None, "told"])
def test_a_shard_travels_as_one_row(table: pa.Table | None, fault: str | None) -> None:
    row = pack(Packed(shard=5, table=table, fault=fault, figures={"seconds/fetch": 0.5}))
    assert row.num_rows == 1
    found = unpack(row)
    assert (found.shard, found.fault, found.figures) == (5, fault, {"seconds/fetch": 0.5})
    assert found.table is table or found.table.equals(table)


def test_readers_and_writers_import_neither_torch_nor_mlflow() -> None:
    check = (
        "import sys, pipeline.transcription_stages; print('torch' in sys.modules, 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
