"""The entry point of the command. Ctrl-C ends it without a traceback even while the rest is being loaded.

Other signals that ask for its end, such as that of a closed terminal, do the same as Ctrl-C.
"""

import gc
import signal
import sys


def main() -> None:
    """The `shoal` command."""
    gc.set_threshold(200_000, 20, 20)  # imports make no garbage: to look for it took a seventh of a start
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # and not ignored, as with `nohup`
            signal.signal(number, signal.default_int_handler)
    try:
        from p2p.commandline import streams

        streams.prepare()
        from p2p.commandline import app

        app.main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
