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
        if "://" not in uri:
            if not uri.endswith(".db"):
                raise ConfigError(f"index.uri: {uri!r} must be http(s)://host:port or a path that ends in .db")
            return cls(database=Path(uri).expanduser().absolute())
        try:
            parts = urlsplit(uri)
            scheme, host, port, password = parts.scheme.lower(), parts.hostname, parts.port, parts.password
        except ValueError as e:
            raise ConfigError(f"index.uri: {_hidden(uri)!r}: {e}; it must be http(s)://host:port") from e
        if scheme not in PORTS or not host:
            raise ConfigError(f"index.uri: {_hidden(uri)!r} must be http(s)://host:port or a path that ends in .db")
        if parts.query or parts.fragment or "/" in parts.path.strip("/"):
            raise ConfigError(
                f"index.uri: {_hidden(uri)!r}: behind the port there may be the name of a database and nothing else,"
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


def _hidden(uri: str) -> str:
    """The address without what stands before an @."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
