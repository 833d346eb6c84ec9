"""The signals that ask a program to end."""

import signal


def ending_signals() -> list[signal.Signals]:
    """Ctrl-C, SIGTERM, and a terminal that is closed, unless the user wants that ignored, as `nohup` does."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals
