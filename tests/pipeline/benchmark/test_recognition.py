"""Networks of every name are measured, against a ceiling that they can't break through."""

from pipeline.benchmark.measure import Setting
from pipeline.benchmark.recognition import fresh_recognizer, preparation, recognition

QUICK = Setting(rounds=1, seconds=1e-3, networks=("small",))


def test_each_format_is_prepared_no_faster_than_it_is_decoded() -> None:
    rows = list(preparation(QUICK))
    assert [row.name for row in rows] == ["JPEG to line", "PNG to line"]
    assert all(row.value > 0 and row.ceiling for row in rows)


def test_a_network_is_measured_with_each_number_of_threads_and_with_lexicons() -> None:
    rows = list(recognition(Setting(rounds=1, seconds=1e-3, networks=("small",), threads=(1, 2))))
    fp32 = [row for row in rows if "fp32" in row.name]
    assert [row.name for row in fp32] == [
        "small fp32 on 1 CPU",
        "small fp32 on 2 CPUs",
        "small fp32 with 50-word lexicons",
    ]
    assert all(row.value > 0 and row.ceiling for row in rows)


def test_fresh_weights_are_the_same_every_time() -> None:
    first, again = (fresh_recognizer("small").bundle.fingerprint for _ in range(2))
    assert first == again
