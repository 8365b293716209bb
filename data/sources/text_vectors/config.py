"""Configuration of vectors of texts."""

from dataclasses import dataclass, field

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.sources.schema import RESERVED_COLUMNS, is_feature_name


@dataclass(kw_only=True, slots=True)
class EmbedTextConfig:
    """How texts of items become vectors.

    Attributes:
        columns: the columns of the table of items that make up the text; lists are joined by spaces.
        model: folder of a model of sentences in the format of sentence-transformers; null takes words that occur
            together (latent semantic analysis), which needs no model.
        length: length of the vectors, where there is no model.
        batch_size: texts that a model embeds at a time.
        name: the name of the column of vectors, and of the feature.
        to: the Parquet file to write, with the columns `item_id` and `name`. Where it was written by words before, the
            same words make the vectors, so that they can be compared.
        like: a file that was written by words before, for vectors of further items that can be compared with its own;
            null means `to`.
    """

    columns: list[str] = field(default_factory=lambda: ["title"])
    model: str | None = None
    length: int = bounded(64, at_least=1, at_most=4096)
    batch_size: int = bounded(64, at_least=1)
    name: str = "text_vector"
    to: str = "text_vectors.parquet"
    like: str | None = None

    def __post_init__(self) -> None:
        check_bounds(self, "embed")
        if not self.columns:
            raise ConfigError("embed.columns: [] must name at least one column of the table of items")
        if not is_feature_name(self.name):
            raise ConfigError(
                f"embed.name: {self.name!r} can be no feature of items: it must be an identifier and none of"
                f" {sorted(RESERVED_COLUMNS)}; give another one, such as text_vector"
            )
        if self.like is not None and self.model is not None:
            raise ConfigError("embed.like: a model makes vectors that can be compared anyway; leave it out")
