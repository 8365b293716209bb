"""The settings of a source as manifests hold them: those of the log with the tables, and the source made of them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.structured import structured
from data.sources.source import SourceConfig, sources


def log_settings(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the log that has the tables of users and items: of the innermost base, where a source has one.

    Args:
        source: the settings of a source, such as a manifest's `config.data.source`.
    """
    while source.get("base"):
        source = source["base"]
    return source


def source_of(settings: Mapping[str, Any]) -> SourceConfig:
    """The source that had these settings.

    Args:
        settings: as `data.dataset.config.DataConfig.as_json` writes them; fields that the source no longer has are
            left out.

    Raises:
        ConfigError: no source of the settings' `adapter` is registered, or it refuses a value.
        OmegaConfBaseException: a field has another type by now.
    """
    name = settings.get("adapter")
    of = next((known for known in sources().values() if known.__name__ == name), None)
    if of is None:
        raise ConfigError(f"data.source: {name} is no known source; name the module that registers it in `plugins`")
    base = settings.get("base")
    known = {field.name for field in fields(of)} - {"base"}
    found = structured(of, {key: value for key, value in settings.items() if key in known})
    if base:
        found.base = source_of(base)  # type: ignore[attr-defined]  # a source with a base has this field
    return found
