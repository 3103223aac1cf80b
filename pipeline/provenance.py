"""Where a result comes from: the code's revision, the versions it ran with, the job that ran it."""

import getpass
import hashlib
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("crnn", "pipeline", "jobs")
LIBRARIES = ("crnn-pipeline", "torch", "ray", "mlflow", "numpy", "pyarrow", "pillow")
REVISION_VARIABLE = "CRNN_REVISION"
"""Where there is no .git, as in a Ray job's working directory or an image: the revision, set from outside."""
REVISION_FILE = "REVISION"
"""The same as a file beside the packages; an image is built with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What has to be known to get a result again."""

    revision: str
    """Git commit, with "+changes" where files differ from it; "unknown" where nothing tells."""
    code: str
    """Fingerprint of the packages' sources: tells what ran where no revision does."""
    python: str
    versions: dict[str, str]
    """Of the libraries that matter."""
    command: str
    user: str
    host: str
    ray_job: str | None
    """Id under which the job was submitted to a cluster."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def tags(self) -> dict[str, str]:
        """As tags of an MLflow run; those named mlflow.* fill columns of its UI."""
        tags = {
            "mlflow.source.name": self.command,
            "mlflow.source.type": "JOB",
            "mlflow.user": self.user,
            "crnn.code": self.code,
            "crnn.revision": self.revision,
            "crnn.host": self.host,
        }
        if self.revision != "unknown":
            tags["mlflow.source.git.commit"] = self.revision.removesuffix("+changes")
        if self.ray_job:
            tags["crnn.ray_job"] = self.ray_job
        return tags | {f"crnn.version.{name}": number for name, number in self.versions.items()}


def collect() -> Provenance:
    """The provenance of this process's work."""
    return Provenance(
        revision=revision(),
        code=code_fingerprint(),
        python=platform.python_version(),
        versions={name: number for name in LIBRARIES if (number := _version(name))},
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        user=_user(),
        host=socket.gethostname(),
        ray_job=_ray_job(),
    )


def revision(root: Path = ROOT) -> str:
    """The git commit of the code below `root`: from the environment, a recorded file, or git itself."""
    told = os.environ.get(REVISION_VARIABLE)
    if told:
        return told
    recorded = root / REVISION_FILE
    if recorded.is_file():
        return recorded.read_text(encoding="utf-8").strip() or "unknown"
    # Installed packages may lie inside somebody else's repository.
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "HEAD")
    if top is None or commit is None or Path(top).resolve() != root.resolve():
        return "unknown"
    changes = _git(root, "status", "--porcelain", "--", *(p for p in PACKAGES if (root / p).is_dir()))
    return commit if changes == "" else f"{commit}+changes"


def code_fingerprint(root: Path = ROOT) -> str:
    """12 hex digits that change with any source file of the packages."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers run as users without a name
        return "unknown"


def _ray_job() -> str | None:
    # Ray hands this to the drivers of submitted jobs; its public API has no way to ask.
    try:
        metadata = json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["metadata"]
        return str(metadata["job_submission_id"])
    except (KeyError, ValueError, TypeError):
        return None
