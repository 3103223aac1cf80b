"""Where results come from, with git and without."""

import json
import subprocess
from pathlib import Path

import pytest

from pipeline import provenance
from pipeline.provenance import code_fingerprint, collect, revision


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", root, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit."""
    monkeypatch.delenv(provenance.REVISION_VARIABLE, raising=False)
    root = tmp_path / "checkout"
    (root / "crnn").mkdir(parents=True)
    (root / "crnn" / "model.py").write_text("A = 1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def test_a_clean_checkout_is_its_commit_and_a_changed_one_says_so(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert revision(checkout) == commit
    (checkout / "out.log").write_text("not code")
    assert revision(checkout) == commit
    (checkout / "crnn" / "model.py").write_text("A = 2\n")
    assert revision(checkout) == f"{commit}+changes"


def test_a_new_source_file_is_a_change(checkout: Path) -> None:
    (checkout / "crnn" / "new.py").write_text("B = 1\n")
    assert revision(checkout).endswith("+changes")


def test_packages_installed_inside_another_repository_do_not_take_its_commit(checkout: Path) -> None:
    (checkout / "site-packages").mkdir()
    assert revision(checkout / "site-packages") == "unknown"


def test_a_recorded_revision_stands_in_for_git_and_the_environment_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(provenance.REVISION_VARIABLE, raising=False)
    assert revision(tmp_path) == "unknown"
    (tmp_path / provenance.REVISION_FILE).write_text("abc123\n")
    assert revision(tmp_path) == "abc123"
    monkeypatch.setenv(provenance.REVISION_VARIABLE, "def456+changes")
    assert revision(tmp_path) == "def456+changes"


def test_a_machine_without_git_is_no_obstacle(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert revision(checkout) == "unknown"


def test_the_code_s_fingerprint_changes_with_any_source_file(checkout: Path) -> None:
    before = code_fingerprint(checkout)
    (checkout / "crnn" / "notes.txt").write_text("not code")
    assert code_fingerprint(checkout) == before
    (checkout / "crnn" / "model.py").write_text("A = 2\n")
    changed = code_fingerprint(checkout)
    (checkout / "crnn" / "model.py").rename(checkout / "crnn" / "net.py")
    assert len({before, changed, code_fingerprint(checkout)}) == 3


def test_what_is_collected_fits_json_and_mlflow_and_names_the_ray_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"metadata": {"job_submission_id": "raysubmit_1"}})
    )
    monkeypatch.setenv(provenance.REVISION_VARIABLE, "abc123+changes")
    found = collect()
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
    tags = found.tags()
    assert tags["crnn.ray_job"] == "raysubmit_1"
    assert tags["crnn.revision"] == "abc123+changes"
    assert tags["mlflow.source.git.commit"] == "abc123"
    assert tags["crnn.version.ray"].startswith("2.")
    assert all(isinstance(value, str) for value in tags.values())


def test_a_process_that_is_no_ray_job_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert collect().ray_job is None
    assert "crnn.ray_job" not in collect().tags()
