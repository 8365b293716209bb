"""The input files of a log on an object store, whose URI has credentials, an endpoint and spaces (moto's S3)."""

from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts import conditional_writes
from data.artifacts.conditional_writes import uri_of
from data.artifacts.errors import ConfigError, StorageUnavailable
from data.artifacts.folders import Folder
from data.artifacts.secrets import recordable
from data.dataset.inputs import changed_inputs, input_states
from data.dataset.preparation import dataset_name, prepare
from data.sources.interaction_lists import InteractionListsSource
from data.sources.movielens import MovieLensSource
from data.sources.source import SourceConfig
from data.sources.tables import TableFormat, TableSource

LOG = "user_id,item_id,time\n" + "".join(f"u{n % 7},i{n % 11},{n}\n" for n in range(200))


@pytest.fixture
def log(bucket: Folder) -> str:
    """The URI of a folder with a log as a table, as MovieLens has it, and as lists."""
    folder = bucket / "log of May"
    files = {"tables/part 1+2=3%.csv": LOG, "ml/u.data": "1\t2\t3\t4\n", "lists/train 1.txt": "u i\n"}
    for name, text in files.items():
        folder.write_bytes(name, text.encode())
    place, _, options = bucket.uri.partition("?")
    return f"{place}/log%20of%20May/NAME?{options}"


def sources(log: str) -> list[SourceConfig]:
    tables, ml, lists = (log.replace("NAME", name) for name in ("tables", "ml", "lists/train%201.txt"))
    table = TableSource(format=TableFormat.csv, interactions=tables)
    return [table, MovieLensSource(path=ml), InteractionListsSource(train=lists)]


def test_files_of_an_object_store_are_asked_as_their_log_is_opened(log: str) -> None:
    for source, size in zip(sources(log), (len(LOG), 8, 4), strict=True):
        ((path, found, changed_ns),) = input_states(source.files())
        assert found == size and changed_ns
        assert Folder.of(path).filesystem.get_file_info(Folder.of(path).path).size == size
        assert "key:secret@" in path and "secret" not in str(recordable([path]))


def test_credentials_may_come_from_the_environment(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for source in sources(log.replace("key:secret@", "")):
        ((path, size, _),) = input_states(source.files())
        assert size and "endpoint_override" in path
    config = load(["data=csv", f"data.source.interactions='{log.replace('NAME', 'tables')}'"]).data
    assert dataset_name(config).startswith(f"{config.name}-")


@pytest.mark.slow
def test_a_log_of_an_object_store_is_prepared(ray_session: None, log: str, tmp_path: Path) -> None:
    given = [f"data.source.interactions='{log.replace('NAME', 'tables')}'", "data.clock=order"]
    config = load(["data=csv", *given, f"storage.root={tmp_path}"])
    dataset = prepare(config.data, Folder.of(str(tmp_path)))
    assert dataset.manifest["counts"]["raw_interactions"] == 200
    ((path, size, _),) = dataset.manifest["inputs"]
    assert size == len(LOG) and path.startswith("s3://***@") and "secret" not in str(dataset.manifest)
    assert changed_inputs(dataset) == []


def test_a_store_that_does_not_answer_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        @staticmethod
        def from_uri(uri: str) -> None:
            raise OSError("When resolving region for bucket 'logs': AWS Error NETWORK_CONNECTION")

    monkeypatch.setattr(conditional_writes.fs, "FileSystem", Silent)
    with pytest.raises(StorageUnavailable, match=r"does not answer \(When resolving region.*name its region") as caught:
        Folder.of("s3://key:secret@logs/may")
    assert "secret" not in str(caught.value) and isinstance(caught.value, OSError)


def test_a_space_in_a_uri_is_refused_with_its_cure() -> None:
    with pytest.raises(ConfigError, match="write a space as %20"):
        Folder.of("s3://logs/of May?region=eu-central-1")


def test_folders_of_values_keep_their_names_in_uris() -> None:
    """Where `=` was quoted, each file of such a log was asked for by a connection of its own."""
    found = uri_of("logs/may/dt=2024-01-01/a b.csv", "s3://key:secret@logs/may?region=eu-central-1")
    assert found == "s3://key:secret@logs/may/dt=2024-01-01/a%20b.csv?region=eu-central-1"
