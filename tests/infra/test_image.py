"""The Dockerfile, read instruction by instruction: what it copies is there, what it installs is pinned."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "infra/image/Dockerfile").read_text()
Stage = list[tuple[str, str]]


def stages(text: str) -> dict[str, Stage]:
    """Instructions by stage, continued lines put together, comments left out."""
    found: dict[str, Stage] = {"": []}
    stage = ""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            stage = rest.split(" AS ")[1]
            found[stage] = []
        if instruction:
            found[stage].append((instruction, rest))
    return found


def complaints(text: str, context: Path, ignored: str) -> list[str]:
    """What is wrong with a Dockerfile that is built in a folder with this .dockerignore."""
    told, found = [], stages(text)
    arguments = dict(
        rest.split("=", 1) for stage in found.values() for i, rest in stage if i == "ARG" and "=" in rest
    )
    for name, stage in found.items():
        if not name:
            continue
        base = re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], stage[0][1].split(" AS ")[0])
        if base not in found and not re.search(r":\d+\.\d+\.\d+", base):
            told.append(f"{name}: {base} isn't pinned")
        for instruction, written in stage:
            rest = re.sub(r"\$\{(\w+)\}", lambda m: arguments.get(m[1], m[0]), written)
            for source in rest.split()[:-1] if instruction == "COPY" else []:
                if not (context / source).exists():
                    told.append(f"{name}: there is no {source}")
                elif not sent(source, ignored):
                    told.append(f"{name}: {source} stays out of the context")
            if instruction == "ADD":
                told.append(f"{name}: ADD fetches and unpacks; COPY doesn't")
            if "pip install" in rest and "--constraint" not in rest and "--no-deps" not in rest:
                told.append(f"{name}: installs whatever is newest")
            if "apt-get install" in rest and "rm -rf /var/lib/apt/lists" not in rest:
                told.append(f"{name}: keeps apt's lists in a layer")
            if re.search(r"(PASSWORD|SECRET|TOKEN)\w*=\S", rest):
                told.append(f"{name}: a secret stands in {instruction}")
    job = " ".join(rest for _, rest in found["job"])
    if "--no-build-isolation" in job and not re.search(r"pip install [^&]*hatchling editables", job):
        told.append("job: lacks what an editable build without isolation needs")
    base = " ".join(rest for _, rest in found["base"])
    if "rsync" not in base or "HOME=/home/ray" not in base:
        told.append("base: `ray up` can't bring its files into it")
    for name in ("job", "mlflow"):
        users = [rest for instruction, rest in found[name] if instruction == "USER"]
        if users[-1:] != ["1000"]:
            told.append(f"{name}: runs as root")
    return told


def sent(path: str, ignored: str) -> bool:
    """Whether .dockerignore lets a path into the context: the last line that matches it decides."""
    kept = True
    for line in ignored.splitlines():
        pattern = line.strip().lstrip("!").rstrip("/")
        if not pattern or pattern.startswith("#"):
            continue
        expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{expression}(/.*)?", path.rstrip("/")):
            kept = line.strip().startswith("!")
    return kept


IGNORED = (ROOT / ".dockerignore").read_text()


def test_the_image_is_built_of_what_is_there_and_pinned() -> None:
    assert complaints(DOCKERFILE, ROOT, IGNORED) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("COPY jobs /opt/crnn/jobs", "COPY jbos /opt/crnn/jobs", "no jbos"),
        ("COPY jobs /opt/crnn/jobs", "COPY tests /opt/crnn/tests", "stays out"),
        ("COPY jobs /opt/crnn/jobs", "ADD jobs /opt/crnn/jobs", "ADD"),
        ("USER 1000\nCMD", "CMD", "as root"),
        ("PYTHON=3.11.14", "PYTHON=3", "isn't pinned"),
        ("hatchling editables boto3", "hatchling", "editable build"),
        (" rsync ", " ", "ray up"),
        ("HOME=/home/ray ", "", "ray up"),
        ("--constraint constraints.txt", "", "newest"),
        (" && rm -rf /var/lib/apt/lists/* \\\n", "", "apt's lists"),
        ("PIP_NO_CACHE_DIR=1", "RAY_AUTH_TOKEN=0123", "a secret"),
    ],
)
def test_a_planted_mistake_is_caught(old: str, new: str, told: str) -> None:
    assert old in DOCKERFILE
    found = complaints(DOCKERFILE.replace(old, new), ROOT, IGNORED)
    assert any(told in complaint for complaint in found), found


@pytest.mark.parametrize(
    "path", [".git/config", ".env", "infra/mlflow/.env", "out/mlflow.db", "crnn/__pycache__/x.pyc"]
)
def test_what_may_be_secret_stays_out_of_the_context(path: str) -> None:
    assert not sent(path, IGNORED)


def test_the_image_has_the_python_and_ray_of_the_manifests() -> None:
    from tests.infra.rules import RAY_VERSION

    constraints = (ROOT / "infra/constraints-cpu.txt").read_text().splitlines()
    assert f"ray=={RAY_VERSION}" in constraints
    assert {"boto3", "Flask-WTF", "mlflow", "psycopg2-binary"} <= {
        line.split("==")[0] for line in constraints
    }


def test_a_job_s_working_folder_is_sent_without_environments_and_results() -> None:
    lines = set((ROOT / ".rayignore").read_text().split())
    assert {".git/", ".venv/", "out/", "tests/", ".env"} <= lines
