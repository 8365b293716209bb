"""Conditional writes on an object store: a file is created or replaced only if nobody else has done so in between.

pyarrow's filesystems overwrite whatever is there. S3, GCS and Azure take a condition with each write, which obstore
sends: `If-None-Match: *` creates, `If-Match: <etag>` replaces. A writer whose condition does not hold learns of it and
changes nothing. On top of that stand compare-and-swap of the live pointer and the leases of `data.artifacts.leases`.
"""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit, urlunsplit

import pyarrow as pa
from pyarrow import fs

from data.artifacts.errors import ConfigError, StorageUnavailable, one_line
from data.artifacts.secrets import without_passwords

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
"""Schemes of the object stores whose conditional writes are known."""

HALF_A_URI = re.compile(rf"({'|'.join((*SCHEMES, 's3a', 'hdfs'))}|file|https?):/?(?!/)", re.IGNORECASE)
"""What begins with a scheme and lacks a slash: as a path it would be a folder of this name, here."""

TIMEOUT_S = 10
"""Seconds for one request to the object store. obstore tries a failed one again for up to `RETRY_S`."""

RETRY_S = 30

Version = dict[str, str]
"""What a write can be made to depend on: an object's `e_tag` and, where the store has one, its `version`."""


class ConditionalWrites:
    """The objects of one bucket (or container), by their keys.

    Attributes:
        bucket: the bucket's name, with which pyarrow's paths begin.
    """

    def __init__(self, uri: str) -> None:
        """Reads bucket, endpoint, region and credentials from the URI that pyarrow opens the same storage by.

        Credentials that the URI does not hold are obstore's own to find: in the environment (`AWS_ACCESS_KEY_ID`, ...),
        from a web identity, or from the machine's role; where boto3 is installed, wherever boto3 finds them.

        Raises:
            ConfigError: no conditional writes are known for this filesystem.
        """
        from obstore.store import from_url

        parts = urlsplit(uri)
        if parts.scheme not in SCHEMES:
            raise ConfigError(
                f"storage.root: {parts.scheme}:// has no locks and no conditional writes that are known here;"
                " use a disk, s3://, gs:// or abfss://"
            )
        self.bucket = _bucket(parts)
        host = parts.netloc if parts.scheme.startswith("abfs") else parts.netloc.rpartition("@")[2]
        s3 = _s3_options(uri) if parts.scheme == "s3" else {}
        retry: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=RETRY_S)}
        client: Any = {"timeout": f"{TIMEOUT_S}s", "allow_http": str(s3.get("endpoint", "")).startswith("http://")}
        self._store: Any = from_url(
            f"{parts.scheme.replace('gcs', 'gs')}://{host}", client_options=client, retry_config=retry, **s3
        )

    def read(self, path: str) -> tuple[bytes, Version] | None:
        """The content and the version of an object; None where there is none.

        Args:
            path: as pyarrow has it, with the bucket in front.

        Raises:
            OSError: the object store does not answer, or refuses.
        """
        import obstore

        try:
            found = obstore.get(self._store, self._key(path))
            return bytes(found.bytes()), _version(found.meta)
        except FileNotFoundError:
            return None
        except obstore.exceptions.BaseError as e:
            raise _told(e, path) from e

    def create(self, path: str, content: bytes) -> Version | None:
        """Writes an object that must not exist yet; returns None, with nothing changed, where it does.

        Raises:
            OSError: the object store does not answer, or refuses.
        """
        return self._put(path, content, "create")

    def replace(self, path: str, content: bytes, version: Version) -> Version | None:
        """Writes an object that must still have this version; returns None, with nothing changed, where it has not.

        Raises:
            OSError: the object store does not answer, or refuses.
        """
        return self._put(path, content, dict(version))

    def _put(self, path: str, content: bytes, mode: Any) -> Version | None:
        import obstore

        try:
            return _version(obstore.put(self._store, self._key(path), content, mode=mode, use_multipart=False))
        except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError, FileNotFoundError):
            # A write whose answer was lost on the way is sent again, and then meets itself.
            found = self.read(path)
            return found[1] if found is not None and found[0] == content else None
        except obstore.exceptions.BaseError as e:
            raise _told(e, path) from e

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self.bucket}/")


@lru_cache(maxsize=16)
def conditional_writes(uri: str) -> ConditionalWrites:
    """The conditional writes of the storage at a URI, connected once per process."""
    return ConditionalWrites(uri)


def _s3_options(uri: str) -> dict[str, Any]:
    """obstore's options for what pyarrow reads out of an s3:// URI, see `pyarrow.fs.FileSystem.from_uri`."""
    parts = urlsplit(uri)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    filesystem, _ = fs.FileSystem.from_uri(uri)
    config: dict[str, str] = {"region": filesystem.region}
    if override := query.get("endpoint_override"):
        config["endpoint"] = override if "://" in override else f"{query.get('scheme', 'https')}://{override}"
    if parts.username and parts.password:
        config |= {"access_key_id": unquote(parts.username), "secret_access_key": unquote(parts.password)}
    elif (provider := _boto3_credentials()) is not None:
        return {**config, "credential_provider": provider}
    return config


def _boto3_credentials() -> Any:
    """boto3's chain of credentials (profiles, SSO, ...), where boto3 is installed and finds some; None otherwise."""
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return None
    session = boto3.Session()
    return Boto3CredentialProvider(session) if session.get_credentials() is not None else None


def _version(meta: Any) -> Version:
    return {name: str(meta[name]) for name in ("e_tag", "version") if meta.get(name) is not None}


def _told(error: Exception, path: str) -> OSError:
    return OSError(f"{path}: {str(error).splitlines()[0]}")


def refuse_half_a_uri(location: str) -> None:
    """Raises ConfigError for a location such as s3:/bucket, which would be a folder of this name on a disk."""
    if (half := HALF_A_URI.match(location)) is not None:
        said = f"storage location {location!r}: a URI begins with {half[1]}:// (a folder of that name is ./{location})"
        raise ConfigError(without_passwords(said, [f"={location}"]))


def opened(uri: str) -> tuple[fs.FileSystem, str]:
    """The filesystem at a URI or an absolute path, and the path in it, with the bucket in front.

    Raises:
        ConfigError: pyarrow knows no such filesystem.
        StorageUnavailable: its store does not answer. S3 is asked for a bucket's region, where the URI names none.
    """
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        cure = "; write a space as %20" if "://" in uri and " " in uri else ""
        said = f"storage location {uri!r}: not a path or URI that pyarrow opens ({e}){cure}"
        raise ConfigError(without_passwords(said, [f"={uri}"])) from None
    except OSError as e:
        said = (
            f"storage location {uri!r}: does not answer ({one_line(e)}): see that it is there, or name its region or"
            " its endpoint (?region=eu-central-1, ?endpoint_override=host:9000)"
        )
        raise StorageUnavailable(without_passwords(said, [f"={uri}"])) from None
    return filesystem, path


def uri_of(path: str, like: str) -> str:
    """The URI that opens a path as another URI of the same store opens its own: by its credentials and options.

    Args:
        path: as pyarrow has it, with the bucket in front.
        like: the other URI.
    """
    parts = urlsplit(like)
    below = f"{path}/".removeprefix(f"{_bucket(parts)}/").strip("/")
    return urlunsplit(parts._replace(path=f"/{quote(below, safe='/=')}"))


def _bucket(parts: SplitResult) -> str:
    """The bucket or container that a URI names before its path; a name that begins no path, where it names none."""
    if parts.scheme.startswith("abfs") and parts.username:
        return parts.username
    return parts.netloc.rpartition("@")[2]
