"""What the server can be told, and what it says of settings that it cannot use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.settings import ServingSettings, read_settings


@pytest.fixture
def yaml(tmp_path: Path) -> str:
    """The path of a file that exists."""
    path = tmp_path / "feature_store.yaml"
    path.touch()
    return str(path)


def test_what_is_not_set_has_its_default(yaml: str) -> None:
    """An environment that names only the repository yields the documented defaults, and the real clock."""
    settings = read_settings({"PEDIGREE_FEATURE_STORE_YAML": yaml})
    assert settings == ServingSettings(feature_store_yaml=Path(yaml))
    assert settings.address == "127.0.0.1:15051"
    assert settings.now().tzinfo is UTC


def test_everything_can_be_set(yaml: str) -> None:
    """Each name of the environment sets its setting; a clock with an offset is kept in UTC."""
    settings = read_settings(
        {
            "PEDIGREE_FEATURE_STORE_YAML": yaml,
            "PEDIGREE_SERVING_ADDRESS": "[::1]:50051",
            "PEDIGREE_SERVING_STORE_TIMEOUT": "0.05",
            "PEDIGREE_SERVING_DEADLINE": "2",
            "PEDIGREE_SERVING_DRAIN": "30",
            "PEDIGREE_SERVING_MAX_ENTITIES": "7",
            "PEDIGREE_CLOCK": "2013-07-01T08:00:00-04:00",
        }
    )
    assert settings == ServingSettings(
        address="[::1]:50051",
        feature_store_yaml=Path(yaml),
        store_timeout=timedelta(milliseconds=50),
        deadline=timedelta(seconds=2),
        drain=timedelta(seconds=30),
        max_entities=7,
        clock_at=datetime(2013, 7, 1, 12, tzinfo=UTC),
    )
    assert settings.now() == datetime(2013, 7, 1, 12, tzinfo=UTC)


def test_all_wrong_settings_are_reported_together(tmp_path: Path) -> None:
    """One error names every setting that cannot be used."""
    wrong = {
        "PEDIGREE_FEATURE_STORE_YAML": str(tmp_path / "missing.yaml"),
        "PEDIGREE_SERVING_ADDRESS": "localhost",
        "PEDIGREE_SERVING_STORE_TIMEOUT": "-1",
        "PEDIGREE_SERVING_DEADLINE": "soon",
        "PEDIGREE_SERVING_DRAIN": "nan",
        "PEDIGREE_SERVING_MAX_ENTITIES": "0",
        "PEDIGREE_CLOCK": "yesterday",
    }
    with pytest.raises(SettingsError) as caught:
        read_settings(wrong)
    assert len(caught.value.problems) == len(wrong)
    for value in wrong.values():
        assert value in str(caught.value)


def test_a_clock_without_an_offset_is_refused(yaml: str) -> None:
    """A naive clock is an error that says how to write UTC."""
    with pytest.raises(SettingsError, match=r"names no offset from UTC: write 2013-07-01T12:00:00\+00:00"):
        read_settings({"PEDIGREE_FEATURE_STORE_YAML": yaml, "PEDIGREE_CLOCK": "2013-07-01T12:00:00"})
