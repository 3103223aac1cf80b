"""Says what the environment of a GPU machine lacks: every requirement of the project, at any depth, but those
that left_out.txt names."""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

here = Path(__file__)
lines = (line.split("#")[0].strip() for line in here.with_name("left_out.txt").read_text().splitlines())
left_out = {canonicalize_name(line) for line in lines if line}
project = tomllib.loads((here.parents[2] / "pyproject.toml").read_text())["project"]
lacking: list[str] = []
left, seen = [Requirement(line) for line in project["dependencies"]], set[str]()
while left:
    requirement = left.pop()
    if canonicalize_name(requirement.name) in left_out:
        continue
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        lacking.append(f"{requirement}: not there")
        continue
    if not requirement.specifier.contains(found, prereleases=True):
        lacking.append(f"{requirement}: {found} is there")
    if str(requirement) not in seen:
        seen.add(str(requirement))
        for further in map(Requirement, distribution(requirement.name).requires or []):
            extras = [{"extra": extra} for extra in ("", *requirement.extras)]
            if further.marker is None or any(further.marker.evaluate(extra) for extra in extras):
                left.append(further)
if lacking:
    sys.exit("error: The environment lacks\n" + "\n".join(f"  {line}" for line in sorted(set(lacking))))
import torch  # noqa: E402  # what is asked of it last takes longest

gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, ray {version('ray')}, {gpu}")
