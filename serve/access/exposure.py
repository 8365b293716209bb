"""Refuses to start an endpoint that others can reach unless authentication is configured and its keys can be read.

`serve.run` and `serve.demo` check before they start anything. The application and its ingress check once more, since a
Serve config that was written by hand starts them too.
"""

from data.artifacts.errors import ConfigError
from data.artifacts.secrets import secret
from data.cluster.loopback import is_loopback
from data.cluster.ray_compatibility.serve import SETUP_HOOK
from data.cluster.ray_compatibility.serve_addresses import endpoint_host, grpc_is_everywhere
from data.sources.event_log.users import HASH_KEY
from serve.access.config import AuthConfig, AuthKind
from serve.access.key_file import require_keys

SHORTEST_HASH_KEY = 16
"""Least number of characters of the secret."""

WHO_ASKS = (
    "auth=keys (python -m serve.keys mint=NAME makes one), auth=jwt, or auth=none if something in front of the endpoint"
    " asks"
)
"""What to pass where others reach the endpoint."""


def check_access(auth: AuthConfig, host: str) -> None:
    """Refuses to start an endpoint that others can reach unless authentication is configured and its keys can be read.

    Args:
        auth: how callers are authenticated.
        host: the host on which the endpoint listens.

    Raises:
        ConfigError: others can reach the host and `auth` is at its default, or it is not and USER_HASH_KEY is missing.
        KeyFileError: there is no API key, or the keys cannot be read.
        TokenKeysError: the keys that verify tokens cannot be read.
    """
    check_exposure(auth, host)
    require_hash_key(auth)
    if auth.kind is AuthKind.keys:
        require_keys(auth)
    if auth.kind is AuthKind.jwt:
        from serve.access.token_keys import read_token_keys

        read_token_keys(auth.jwt)


def check_exposure(auth: AuthConfig, host: str, key: str = "serve.host") -> None:
    """Refuses to listen beyond loopback without authentication.

    Args:
        key: what gives the host, for the message.

    Raises:
        ConfigError: the host is not loopback, and `auth` is at its default.
    """
    if auth.kind is AuthKind.loopback and not is_loopback(host):
        raise ConfigError(f"{key}: {host} can be reached by others, and nobody is asked for a key; pass {WHO_ASKS}")


def check_deployed(auth: AuthConfig, *, is_replica: bool) -> None:
    """Refuses the same of an application that Ray Serve starts, on whatever host its proxies listen.

    A Serve config may be written by hand, and Ray's own default there is all interfaces.

    Args:
        is_replica: whether a replica asks, which is about to answer requests: a host that is not known then counts as
            one that others reach. Otherwise the application is only built, perhaps where Serve does not run yet.

    Raises:
        ConfigError: the host is not loopback or not known, or gRPC listens on all interfaces whatever the host is, and
            `auth` is at its default.
    """
    if auth.kind is not AuthKind.loopback:
        return
    host = endpoint_host()
    if host is not None or is_replica:
        check_exposure(auth, host or "an unknown host", "http_options.host of the Serve config")
    if is_replica and grpc_is_everywhere():
        hook, name = SETUP_HOOK
        raise ConfigError(
            "grpc_options of the Serve config: gRPC can be reached by others, since Ray was started without"
            f" {hook}={name} in the environment of its nodes and binds it to all interfaces, and nobody is asked for a"
            f" key; start Ray with it, leave out grpc_options, or pass {WHO_ASKS}"
        )


def require_hash_key(auth: AuthConfig) -> None:
    """Requires a secret hash key when users' ids are hashed into logs of an endpoint that others may reach.

    Without a secret, anybody who knows an id could compute its hash.

    Raises:
        ConfigError: `auth` is not at its default, and USER_HASH_KEY is not set or too short.
    """
    if auth.kind is not AuthKind.loopback and len(secret(HASH_KEY)) < SHORTEST_HASH_KEY:
        raise ConfigError(
            f"{HASH_KEY}: must have at least {SHORTEST_HASH_KEY} characters in the environment of the endpoint, because"
            " logs and exposures name users by its hash; make one by `openssl rand -hex 32`, and keep it"
        )
