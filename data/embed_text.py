"""Command: turns the texts of a log's items into vectors, `python -m data.embed_text data=movietweetings`.

It writes a Parquet file. `data.item_vectors=FILE` gives its vectors to every later command as an item feature of kind
`vector`, so that items without interactions can be recommended too. `embed.model=FOLDER` embeds texts with a local
model of sentence-transformers; without a model, vectors come from latent semantic analysis of the words. The words
are kept beside the file: run again with the same file, or for new items with `embed.like=FILE`, it makes vectors that
can be compared with those.

Examples:
    python -m data.embed_text data=movietweetings data.source.path=datasets/MovieTweetings/latest
    python -m data.embed_text data=synthetic embed.to=titles.parquet
    python -m data.embed_text data=synthetic embed.like=titles.parquet embed.to=new.parquet
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.cluster.session import connect

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Writes the vectors; returns the file, the number of items, and the length of a vector."""
    from data.sources.files import address
    from data.sources.text_vectors.files import known_words, place_of_vectors, write_vectors
    from data.sources.text_vectors.texts import vectors_of

    settings = config.embed
    place = place_of_vectors(settings)
    if address(place[0] / place[1]) in config.data.source.files():
        raise ConfigError(f"embed.to: {settings.to} is a file of the log itself, and would be lost; name another one")
    known = known_words(settings, place)
    if known is None and settings.model is None and place[0].exists(place[1]):
        print(f"note: {settings.to} is there without the words that made it: these vectors are other ones")
    connect(config.cluster)
    log = config.data.source.read()
    if settings.name in [feature.name for feature in log.item_features]:
        raise ConfigError(f"embed.name: {settings.name} is a feature of the log's items already; give another name")
    items = log.items
    if items is None:
        raise ConfigError("data.source: the log has no table of items, so there are no texts")
    vectors_NE, space = vectors_of(items, settings, known)
    write_vectors(settings, place, items["item_id"], vectors_NE, space)
    length = vectors_NE.shape[1]
    by = "" if known is None else f" by the words of {settings.like or settings.to}"
    print(f"embed_text: {len(items):,} items, vectors of length {length}{by}, in {settings.to}")
    return {"file": settings.to, "items": len(items), "length": length}


if __name__ == "__main__":
    from conf.entry import launch

    launch("data.embed_text")
