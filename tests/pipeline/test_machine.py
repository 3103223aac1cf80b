"""What a process may use of its machine."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.machine import MIB, available_cpus, memory_bytes, object_store


@given(memory=st.integers(64 * MIB, 1 << 42), shared=st.integers(0, 1 << 42))
def test_the_object_store_fits_the_memory_and_the_folder_it_is_mapped_from(memory: int, shared: int) -> None:
    size, directory = object_store(memory, shared)
    assert size >= 128 * MIB
    assert size <= max(memory * 3 // 10, 128 * MIB)
    if directory is None:
        assert size <= shared


def test_a_container_s_limits_count_and_their_absence_does_not_hurt(tmp_path: Path) -> None:
    machine = available_cpus(tmp_path), memory_bytes(tmp_path)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (available_cpus(tmp_path), memory_bytes(tmp_path)) == machine
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{512 * MIB}\n")
    assert (available_cpus(tmp_path), memory_bytes(tmp_path)) == (1, 512 * MIB)
