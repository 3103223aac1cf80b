"""Packs what a GPU machine without a network lacks as loads of a limited size, where there is a network.

python infra/gpu/pack.py --output out/gpu --more out/assets
python infra/gpu/pack.py --output out/gpu --load-mib 48 --part-mib 40

Packages are those that the project needs at the versions of infra/constraints-cpu.txt, less torch and what
present.txt and left_out.txt name, as one archive of installed files. A file larger than a part is cut;
load.json in each load tells what belongs to what, and machine.sh puts it together again.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "infra/constraints-cpu.txt"
PRESENT, LEFT_OUT = (Path(__file__).with_name(name) for name in ("present.txt", "left_out.txt"))
PROJECT, PYTHON = "crnn-pipeline", "3.12"
SITE = "site"
"""The folder that packages are installed into, and the name of its archive."""
TRIMMED = ("ray/jars", "ray/cpp", "ray/rllib", "ray/dashboard/client", "mlflow/server/js")
"""Folders of packages that no job opens: half of what Ray and MLflow would weigh."""
TESTED = ("pytest", "pytest-timeout", "hypothesis")
"""What the tests marked gpu need besides."""
GLIBC = (17, 24, 26, 27, 28, 31, 34)
"""Of manylinux tags that a machine of our day takes; pip matches each literally."""


def versions() -> dict[str, str]:
    """Pinned versions by name."""
    pins = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    return {
        canonicalize_name(name): number for name, _, number in (p.partition("==") for p in pins) if number
    }


def named(file: Path) -> set[str]:
    """Names of packages, one a line, with comments."""
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return {canonicalize_name(line) for line in lines if line}


def needed(roots: Iterable[str], there: set[str]) -> set[str]:
    """Names that the roots require, at any depth, for Python 3.12 on Linux; what is there, and what only that
    requires, is left out. Read from the environment that runs this."""
    found: set[str] = set()
    left = [Requirement(root) for root in roots]
    seen: set[tuple[str, frozenset[str]]] = set()
    while left:
        requirement = left.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name in there or (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        try:
            told = distribution(name).requires or []
        except PackageNotFoundError:
            raise SystemExit(f"error: {name} isn't installed here. Run this by .venv/bin/python.") from None
        for line in told:
            further = Requirement(line)
            places = [
                {"extra": e, "python_version": PYTHON, "python_full_version": f"{PYTHON}.0"}
                for e in ("", *extras)
            ]
            if further.marker is None or any(further.marker.evaluate(place) for place in places):
                left.append(further)
    return found


def install(names: Iterable[str], folder: Path) -> None:
    """Installs packages for the machine's Python, each at its pinned version, without what is trimmed."""
    pinned = versions()
    unpinned = sorted(set(names) - pinned.keys())
    if unpinned:
        raise SystemExit(f"error: {', '.join(unpinned)}: no version in {CONSTRAINTS.name}.")
    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in GLIBC]
    platforms += [f"--platform=manylinux{year}_x86_64" for year in (1, 2010, 2014)]
    flags = [
        "--no-deps",
        "--no-compile",
        "--only-binary=:all:",
        f"--python-version={PYTHON}",
        "--implementation=cp",
        *platforms,
    ]
    wanted = [f"{name}=={pinned[name]}" for name in sorted(names)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, *flags, f"--target={folder}", *wanted], check=True)
    for trimmed in TRIMMED:
        shutil.rmtree(folder / trimmed, ignore_errors=True)


def pack(folder: Path, name: str, output: Path) -> Path:
    """A folder as an archive that unpacks as `name`."""
    archive = output / f"{name}.tar.xz"
    with tarfile.open(archive, "w:xz") as opened:
        opened.add(folder, name)
    return archive


def pieces(files: Iterable[Path], part: int) -> Iterator[tuple[str, int, bytes]]:
    """Each file's name, and its parts of at most `part` bytes by number."""
    for file in files:
        with file.open("rb") as stream:
            for number, data in enumerate(iter(lambda: stream.read(part), b"")):
                yield file.name, number, data


def write_loads(files: list[Path], output: Path, *, load: int, part: int) -> list[Path]:
    """Writes files as loads of at most `load` bytes, cut into parts of at most `part`.

    Returns:
        The loads' folders.
    """
    whole = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    parts = sorted(pieces(files, part), key=lambda piece: -len(piece[2]))
    loads: list[list[tuple[str, int, bytes]]] = []
    for piece in parts:  # the largest first, each into the first load that has room
        room = (chosen for chosen in loads if sum(len(data) for _, _, data in chosen) + len(piece[2]) <= load)
        chosen = next(room, None)
        if chosen is None:
            chosen = []
            loads.append(chosen)
        chosen.append(piece)
    folders = []
    for number, chosen in enumerate(loads, start=1):
        folder = output / str(number)
        folder.mkdir(parents=True)
        for name, place, data in chosen:
            (folder / f"{name}.part-{place:03d}").write_bytes(data)
        (folder / "load.json").write_text(json.dumps({"loads": len(loads), "files": whole}, indent=1))
        folders.append(folder)
    return folders


def main() -> None:
    """Packs; the last lines say what to do with it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the loads; must be new")
    parser.add_argument("--load-mib", type=float, default=48.0, help="of a load, at most")
    parser.add_argument("--part-mib", type=float, default=40.0, help="of a file in it, at most")
    parser.add_argument(
        "--more", type=Path, nargs="*", default=[], help="folders to take along, by their names"
    )
    given = parser.parse_args()
    if given.output.exists():
        raise SystemExit(f"error: {given.output} is there already. Remove it, or name another --output.")
    if not 0 < given.part_mib <= given.load_mib:
        raise SystemExit("error: a part isn't larger than a load.")
    files = given.output / "files"
    files.mkdir(parents=True)
    names = needed([PROJECT, *TESTED], named(PRESENT) | named(LEFT_OUT)) - {PROJECT}
    with tempfile.TemporaryDirectory() as site:
        install(names, Path(site))
        pack(Path(site), SITE, files)
    for folder in given.more:
        pack(folder, folder.absolute().name, files)
    mib = 1 << 20
    loads = write_loads(
        sorted(files.iterdir()), given.output, load=int(given.load_mib * mib), part=int(given.part_mib * mib)
    )
    for load in loads:
        size = sum(file.stat().st_size for file in load.iterdir()) / mib
        print(f"{load}: {size:.1f} MiB in {len(list(load.iterdir())) - 1} files")
    print("Carry them over one by one, and there: infra/gpu/machine.sh receive LOAD")


if __name__ == "__main__":
    main()
