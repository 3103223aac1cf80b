"""Says what the environment of a GPU machine lacks: every requirement of the project, at any depth."""

import sys
from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import Requirement

lacking: list[str] = []
left, seen = [Requirement("crnn-pipeline")], set[str]()
while left:
    requirement = left.pop()
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
