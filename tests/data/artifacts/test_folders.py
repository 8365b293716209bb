"""Sealed folders: whole or not there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed, fingerprint, finish, is_sealed, leftovers, named_in, open_sealed, sealing
from tests.data.artifacts.failing import fail_at


def sealed(folder: Folder, content: bytes = b"x") -> None:
    with sealing(folder, {"kind": "dataset"}) as staging:
        staging.write_bytes("a/b.bin", content)


def test_what_is_sealed_opens_and_verifies(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) / "d"
    sealed(folder)
    manifest = open_sealed(folder, "dataset", verify=True)
    assert list(manifest["files"]) == ["a/b.bin"]
    assert manifest["fingerprint"] == fingerprint(manifest["files"])


def test_an_error_while_building_leaves_nothing(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) / "d"
    with pytest.raises(RuntimeError), sealing(folder, {"kind": "dataset"}) as staging:
        staging.write_bytes("a", b"x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_manifest_is_not_there(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) / "d"
    sealed(folder)
    (tmp_path / "d" / "manifest.json").unlink()
    assert not is_sealed(folder)
    with pytest.raises(NotSealed, match="no dataset there"):
        open_sealed(folder, "dataset")


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) / "d"
    sealed(folder)
    (tmp_path / "d" / "a" / "b.bin").write_bytes(b"y")
    open_sealed(folder, "dataset")
    with pytest.raises(NotSealed, match="b.bin: missing or changed"):
        open_sealed(folder, "dataset", verify=True)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) / "d"
    sealed(folder)
    with pytest.raises(NotSealed, match="holds a 'dataset', not a 'release'"):
        open_sealed(folder, "release")


def test_what_an_artifact_names_is_opened_with_its_endpoint_and_credentials(bucket: Folder, tmp_path: Path) -> None:
    """Manifests name other artifacts without the options of the URI that `storage.root` is."""
    dataset, checkpoint = bucket / "datasets" / "d", bucket / "checkpoints" / "c"
    sealed(dataset)
    named = str(dataset)
    assert "secret" not in named and "endpoint" not in named
    assert is_sealed(named_in(checkpoint, named)) and named_in(checkpoint, named) == dataset
    assert named_in(checkpoint, str(tmp_path)) == Folder.of(str(tmp_path)), "on the disk"
    assert named_in(Folder.of(str(tmp_path)), f"{tmp_path}/d") == Folder.of(str(tmp_path)) / "d"


def test_sealing_again_on_an_object_store_leaves_no_file_of_before(bucket: Folder) -> None:
    folder = bucket / "d"
    with sealing(folder, {"kind": "dataset"}) as staging:
        staging.write_bytes("old.bin", b"x")
    sealed(folder, b"new")
    assert list(open_sealed(folder, "dataset", verify=True)["files"]) == ["a/b.bin"]
    assert folder.files() == ["a/b.bin"]


def test_a_file_that_an_object_store_does_not_copy_by_itself_is_copied_in_parts(
    bucket: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 copies 5 GiB at most in one request; here it is three bytes."""
    copies = fs.copy_files

    def copies_small_ones(source: str, target: str, of: fs.FileSystem, to: fs.FileSystem) -> None:
        if of.get_file_info(source).size > 3:
            raise OSError("The specified copy source is larger than the maximum allowable size")
        copies(source, target, of, to)

    monkeypatch.setattr(fs, "copy_files", copies_small_ones)
    monkeypatch.setattr("data.artifacts.replacing.LARGEST_COPIED", 3)
    monkeypatch.setattr("data.artifacts.replacing.COPIED_AT_ONCE", 4)
    sealed(bucket / "d", b"0123456789")
    assert list(open_sealed(bucket / "d", "dataset", verify=True)["files"]) == ["a/b.bin"]
    (bucket / "e").share("a/b.bin", bucket / "d")
    assert (bucket / "e").read_bytes("a/b.bin") == b"0123456789"


def test_sealing_again_replaces_and_leaves_no_leftovers(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) / "d"
    sealed(folder, b"old")
    sealed(folder, b"new")
    assert folder.read_bytes("a/b.bin") == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def filled(folder: Folder, files: dict[str, bytes]) -> None:
    with sealing(folder, {"kind": "dataset"}) as staging:
        for name, content in files.items():
            staging.write_bytes(name, content)


@pytest.mark.parametrize("for_good", [False, True])
def test_whatever_fails_one_of_two_sealed_folders_is_whole(
    bucket: Folder, for_good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error at each step of a replacement on an object store; `for_good`, as after a SIGKILL."""
    old = {"same": b"s", "gone": b"g", "a/changed": b"1"}
    new = {"same": b"s", "a/changed": b"2", "b/new": b"n"}
    found = set()
    for step in count(1):
        folder = bucket / f"{step}" / "d"
        filled(folder, old)
        with monkeypatch.context() as patch, suppress(OSError), sealing(folder, {"kind": "dataset"}) as staging:
            for name, content in new.items():
                staging.write_bytes(name, content)
            num_steps = fail_at(patch, step, for_good)
        if not (was_sealed := is_sealed(folder)):
            assert leftovers(bucket / f"{step}", -60) == [], "serve.prune leaves the only copy"
            if step % 2:
                assert finish(folder)
            else:
                filled(folder, new)
            assert leftovers(bucket / f"{step}", -60) == []
        files = open_sealed(folder, "dataset", verify=True)["files"]
        content_now = {name: folder.read_bytes(name) for name in files}
        assert content_now == new or (was_sealed and content_now == old)
        found.add("beside" if not was_sealed else "old" if content_now == old else "new")
        if num_steps() < step:
            break
    assert found == {"old", "beside", "new"}


def test_a_replacement_on_a_disk_that_was_killed_between_its_renames_is_undone(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) / "d"
    sealed(folder, b"old")
    (tmp_path / "d").rename(tmp_path / ".d.0123abcd.old")
    assert leftovers(Folder.of(str(tmp_path)), -60) == []
    assert finish(folder)
    assert not finish(folder)
    assert folder.read_bytes("a/b.bin") == b"old"


KILLED = """
import os, sys
from pathlib import Path
from data.artifacts.replacing import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"a whole copy, or a part of it")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_worker_leaves_is_not_sealed(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) / "d"
    with sealing(folder, {"kind": "dataset"}) as staging:
        place = Path(staging.path, "split=train", "part-00000.parquet")
        assert subprocess.run([sys.executable, "-c", KILLED, str(place)], check=False).returncode == -9
        assert len(list(place.parent.iterdir())) == 1, "the worker was killed before its file was whole"
        staging.write_bytes("split=train/part-00000.parquet", b"x")  # by the worker that does it again
    manifest = open_sealed(folder, "dataset", verify=True)
    assert list(manifest["files"]) == folder.files() == ["split=train/part-00000.parquet"]


def test_a_partial_folder_beside_it_is_not_listed(tmp_path: Path) -> None:
    root = Folder.of(str(tmp_path))
    sealed(root / "d")
    (tmp_path / ".d.1234.partial").mkdir()
    assert [folder.name for folder in root.subfolders()] == ["d"]


def test_a_folder_that_a_live_process_still_fills_is_no_leftover(tmp_path: Path) -> None:
    """A dataset of a large log is written for hours, into folders of its folder, which does not change then."""
    parent = Folder.of(str(tmp_path))
    staging, file = parent / ".d.01234567.partial", Path(tmp_path, ".d.01234567.partial", "split=train", "part.parquet")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"rows")
    (tmp_path / f".live.json.{'0' * 32}.partial").write_bytes(b"{}")
    for path in (file.parent, file.parent.parent):
        os.utime(path, (0, 0))
    assert leftovers(parent, 3600) == []
    os.utime(file, (0, 0))
    assert leftovers(parent, 3600) == [staging], "a file is none"


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path))
    folder.write_json("p.json", {"a": 1})
    folder.write_json("p.json", {"a": 2})
    assert json.loads((tmp_path / "p.json").read_text()) == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(ValueError, match="storage location 'nope://x'"):
        Folder.of("nope://x")


@pytest.mark.parametrize("half", ["s3:/bucket/var", "gs:bucket", "S3:bucket", "file:/srv/var"])
def test_a_uri_without_its_slashes_is_no_folder_of_that_name(half: str) -> None:
    with pytest.raises(ConfigError, match="a URI begins with"):
        Folder.of(half)
    assert Folder.of(f"./{half}").is_local


@pytest.mark.parametrize("where", ["disk", "object store"])
def test_rows_that_end_in_an_error_are_not_written(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path)) if where == "disk" else request.getfixturevalue("bucket")
    table = pa.table({"n": [1, 2]})

    def cut() -> Iterator[pa.Table]:
        yield table
        raise OSError("a file of an hour vanished")

    for name in ("new.parquet", "a/old.parquet"):
        if name.startswith("a/"):
            folder.write_tables(name, table.schema, [table, table])
        with pytest.raises(OSError, match="vanished"):
            folder.write_tables(name, table.schema, cut())
    assert folder.files() == ["a/old.parquet"]
    assert folder.read_table("a/old.parquet").num_rows == 4
