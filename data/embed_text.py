"""Command: turns the texts of a log's items into vectors, `python -m data.embed_text data=movietweetings`.

It writes a Parquet file that `data.item_vectors=FILE` gives to every later command as a feature of kind vector, by
which items without interactions are found too. `embed.model=FOLDER` takes a local model of sentences; without one, the
words that occur together decide.

Examples:
    python -m data.embed_text data=movietweetings data.source.path=datasets/MovieTweetings/latest
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.cluster.session import connect

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Writes the vectors; returns the file, the number of items, and the length of a vector."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from data.sources.values.text_vectors import by_model, by_words, texts_of

    settings = config.embed
    connect(config.cluster)
    items = config.data.source.read().items
    if items is None:
        raise ConfigError("data.source: the log has no table of items, so there are no texts")
    texts = texts_of(items, list(settings.columns))
    if settings.model is None:
        vectors_NE = by_words(texts, settings.length)
    else:
        vectors_NE = by_model(texts, settings.model, settings.batch_size)
    length = vectors_NE.shape[1]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors_NE.ravel()), length)
    target = Folder.of(settings.to)
    with target.filesystem.open_output_stream(target.path) as file:
        pq.write_table(pa.table({"item_id": items["item_id"], settings.name: column}), file)
    print(f"embed_text: {len(items):,} items, vectors of length {length}, in {settings.to}")
    return {"file": settings.to, "items": len(items), "length": length}


if __name__ == "__main__":
    from conf.entry import launch

    launch("data.embed_text")
