"""The encodings of text files: which there are, and where in a file a byte is wrong."""

import codecs

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.sources.files import UTF_16_MARKS, opened
from data.sources.tabular.text_stream import Delimited

AROUND = 20
"""Number of bytes that a message shows before and behind the wrong one."""

PROBE = f'Id,Name\n1,"{80 * "a"}"\n'
"""What every encoding of text gives back."""


def check_encoding(encoding: str, setting: str) -> None:
    """Refuses what is not the name of an encoding of text.

    Args:
        setting: the config key that holds the name, for the message.

    Raises:
        ConfigError: Python knows no such encoding, or it is none of text (such as "hex").
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        text = "".join(decoder.decode(bytes([byte])) for byte in PROBE.encode(encoding)) + decoder.decode(
            b"", final=True
        )
        if text != PROBE:
            raise ValueError("it cannot be read piece by piece")
    except (LookupError, ValueError, TypeError) as e:  # UnicodeError is a ValueError
        raise ConfigError(
            f"{setting}: {encoding!r} is no encoding of text ({e}); use one such as utf-8, latin-1, cp1252 or utf-16"
        ) from e


def undecodable(file: Folder, layout: Delimited) -> str | None:
    """What in a file its encoding does not have, with its line and the cure; None if there is nothing."""
    decoder = codecs.getincrementaldecoder(layout.encoding)()
    num_lines, is_start = 1, True
    with opened(file) as stream:
        while True:
            block = stream.read(1 << 20)
            is_utf_16, is_start = is_start and block.startswith(UTF_16_MARKS), False
            try:
                num_lines += decoder.decode(block, final=not block).count("\n")
            except UnicodeError as e:
                # A missing byte order mark is no wrong byte: before Python 3.13 it was no UnicodeDecodeError either.
                if not isinstance(e, UnicodeDecodeError) or "BOM" in e.reason:
                    return _refused(e, num_lines, layout)
                num_lines += e.object[: e.start].decode(layout.encoding, "ignore").count("\n")
                return _described(e, num_lines, layout, is_utf_16)
            if not block:
                return None


def _refused(error: UnicodeError, line: int, layout: Delimited) -> str:
    cure = "correct it"
    if layout.has_settings:
        cure = "set data.source.encoding to the file's encoding, such as utf-8"
        if "BOM" in str(error):
            name = codecs.lookup(layout.encoding).name
            cure += f", or to {name}-le or {name}-be if only the byte order mark is missing"
    return f"it is not {layout.encoding}, by what begins in line {line} ({error}): {cure}"


def _described(error: UnicodeDecodeError, line: int, layout: Delimited, is_utf_16: bool) -> str:
    byte = error.object[error.start]
    around = error.object[max(0, error.start - AROUND) : error.start + AROUND]
    better = "utf-16" if is_utf_16 else "cp1252 or latin-1"
    cure = f"set data.source.encoding to the file's encoding, such as {better}" if layout.has_settings else "correct it"
    return f"byte 0x{byte:02x} in line {line} is not {layout.encoding} ({around!r}): {cure}"
