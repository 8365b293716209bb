"""The address of Milvus, as `index.uri` gives it: a server's, in the form that pymilvus takes, or a .db of Milvus Lite.

http://host:19530    https://in03-1234.example.com    http://[::1]:19530/database    https://user:password@host
"""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from data.artifacts.errors import ConfigError

PORTS = {"http": 19530, "https": 443}
"""The port of an address that names none, as pymilvus has it."""


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """Where Milvus is.

    Attributes:
        database: the path of a .db of Milvus Lite; None for a server.
        scheme: http or https.
        host, port: of a server.
        db_name: the server's database; "" means its default.
        token: user:password from the address, if it has them. No message and no `str` shows it.
    """

    database: Path | None = None
    scheme: str = ""
    host: str = ""
    port: int = 0
    db_name: str = ""
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, uri: str) -> "MilvusAddress":
        """Reads the value of `index.uri`.

        Raises:
            ConfigError: it is no such address; the message shows no password.
        """
        scheme, has_scheme, rest = uri.partition("://")
        if not has_scheme:
            return cls(database=_database(uri))
        if any(character in rest.rpartition("@")[0] for character in "/?#"):
            raise ConfigError(
                "index.uri: has a '/', '?' or '#' before an '@' (and is not shown, since it may hold a password);"
                " percent-encode them in user and password (%2F, %3F, %23), and an '@' behind the port (%40)"
            )
        try:
            parts = urlsplit(uri)
            scheme, host, port, password = parts.scheme.lower(), parts.hostname, parts.port, parts.password
        except ValueError:
            scheme, host = "", None
        if scheme not in PORTS or not host:
            raise _refused(uri) from None  # what urllib says repeats parts of the address
        if parts.query or parts.fragment or "/" in parts.path.strip("/"):
            raise ConfigError(
                f"index.uri: {_shown(uri)}: behind the port there may be the name of a database and nothing else,"
                " such as http://host:19530/shop"
            )
        token = "" if parts.username is None else f"{unquote(parts.username)}:{unquote(password or '')}"
        return cls(None, scheme, host, port or PORTS[scheme], unquote(parts.path.strip("/")), token)

    @property
    def uri(self) -> str:
        """A server's address without user, password and database."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        """For messages: without user and password."""
        return f"{self.database}" if self.database else self.uri + (f"/{self.db_name}" if self.db_name else "")


def _database(path: str) -> Path:
    """The .db of Milvus Lite at a path."""
    if "@" in path and ":" in path.partition("/")[0]:
        raise ConfigError(
            "index.uri: has a user and a password, but no scheme (and is not shown); begin it with http:// or https://"
        )
    if not path.endswith(".db"):
        raise _refused(path)
    return Path(path).expanduser().absolute()


def _refused(uri: str) -> ConfigError:
    return ConfigError(f"index.uri: {_shown(uri)} must be http(s)://host:port or a path that ends in .db")


def _shown(uri: str) -> str:
    """The address for messages; one that may hold a password is not shown, not even in parts."""
    return "the value, which is not shown since it has an '@'," if "@" in uri else repr(uri)
