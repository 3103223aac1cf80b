"""Another Ray is named; tests/jobs/test_doctor.py asks whole clusters."""

from pipeline.checks.cluster import same_version


def test_versions_agree_to_the_letter_or_are_told_with_what_to_install() -> None:
    assert same_version("head", "2.60.0", "2.60.0").good
    other = same_version("head", "2.59.1", "2.60.0")
    assert not other.good
    assert other.told == "Ray 2.59.1 there, 2.60.0 here"
    assert "install ray==2.59.1 here" in other.advice
