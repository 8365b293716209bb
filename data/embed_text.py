"""Command: turns the texts of a log's items into vectors, `python -m data.embed_text data=movietweetings`.

It writes a Parquet file. `data.item_vectors=FILE` gives its vectors to every later command as an item feature of kind
`vector`, so that items without interactions can be recommended too. `embed.model=FOLDER` embeds texts with a local
model of sentence-transformers; without a model, vectors come from latent semantic analysis of the words.

Examples:
    python -m data.embed_text data=movietweetings data.source.path=datasets/MovieTweetings/latest
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.cluster.session import connect

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Writes the vectors; returns the file, the number of items, and the length of a vector."""
    from data.sources.values.text_vectors import place_of_vectors, vectors_of, write_vectors

    settings = config.embed
    place = place_of_vectors(settings)
    if "/".join(map(str, place)) in config.data.source.files():
        raise ConfigError(f"embed.to: {settings.to} is a file of the log itself, and would be lost; name another one")
    connect(config.cluster)
    items = config.data.source.read().items
    if items is None:
        raise ConfigError("data.source: the log has no table of items, so there are no texts")
    vectors_NE = vectors_of(items, settings)
    write_vectors(settings, place, items["item_id"], vectors_NE)
    length = vectors_NE.shape[1]
    print(f"embed_text: {len(items):,} items, vectors of length {length}, in {settings.to}")
    return {"file": settings.to, "items": len(items), "length": length}


if __name__ == "__main__":
    from conf.entry import launch

    launch("data.embed_text")
