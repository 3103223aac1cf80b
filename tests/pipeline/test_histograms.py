"""Counts made when a model is calibrated and counts made by night are of the same kinds."""

import random

import duckdb
import pyarrow as pa

from pipeline.histograms import QUERIES, count_readings, held_out_readings


def test_python_and_sql_count_the_same() -> None:
    generator = random.Random(7)
    letters = "abcXYZ019 .'\"é\u0301\u1112\u1161한\U0001f468\u200d🏽"  # with parts of clusters
    edges = [step / 20 for step in range(21)]
    readings = [
        (
            "".join(generator.choices(letters, k=generator.randrange(30))),
            generator.choice([*edges, generator.random()]),
        )
        for _ in range(2_000)
    ]
    texts, confidences = zip(*readings, strict=True)
    told = pa.table({"text": pa.array(texts), "confidence": pa.array(confidences)})
    counted = count_readings(readings)
    assert sum(counted["length"].values()) == sum(counted["confidence"].values()) == 2_000
    with duckdb.connect() as database:
        database.register("told", told)
        for name, kind in QUERIES.items():
            rows = database.sql(f"SELECT {kind} AS kind, count(*) FROM told GROUP BY kind").fetchall()
            assert counted[name] == {kind: count for kind, count in rows if kind}


def test_a_bundle_tells_what_it_read_or_does_not() -> None:
    counted = count_readings([("a", 0.5)])
    told = {"calibration": {"words": 1, "readings": counted}}
    assert held_out_readings(told, "calibration") == counted
    assert held_out_readings(told, "calibration_alone") is None
    for older in ({}, {"calibration": {"words": 1}}, {"calibration": {"readings": {"length": {}}}}):
        assert held_out_readings(older, "calibration") is None
