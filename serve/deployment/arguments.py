"""What a Serve config gives an application: Hydra overrides as on the command line, or `values` by key, or both."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from conf.schema import Config, load


class Arguments(BaseModel):
    """What `args` of a Serve config holds.

    Attributes:
        overrides: Hydra overrides, as on the command line.
        values: values by key, which win over the overrides.
    """

    model_config = ConfigDict(extra="forbid")

    overrides: Sequence[str] = ()
    values: Mapping[str, Any] = {}

    def config(self) -> Config:
        """Returns the typed config; raises ConfigError, which says what is wrong with an argument."""
        return load(self.overrides, self.values)
