"""Error messages on one line."""


def one_line(error: BaseException) -> str:
    """The message on one line, with the config key that it is about."""
    cause: BaseException | None = error
    while cause is not None and not getattr(cause, "full_key", None):
        cause = cause.__cause__
    text = " ".join(part.strip() for part in str(error).splitlines() if part.strip())
    key = getattr(cause, "full_key", None)
    return text if key is None or key in text else f"{key}: {text}"
