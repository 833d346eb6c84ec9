"""The entry point of the command. Ctrl-C ends it without a traceback even while the rest is being loaded."""

import signal
import sys


def main() -> None:
    """The `shoal` command."""
    try:
        from p2p.commandline import streams

        streams.prepare()
        from p2p.commandline import app

        app.main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
