"""pytest for the background of a shell script: `python -m tests.reporting.interruptible` and pytest's arguments.

A shell without job control has what it starts in the background ignore Ctrl-C, and Python keeps to that. So the parts
of `make test` would go on after it.
"""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import pytest

    sys.exit(pytest.console_main())
