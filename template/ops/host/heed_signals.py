"""Lets a command that is told to end clear up after itself, as after Ctrl-C: `timeout`, `systemctl stop`, a session that is lost."""

from __future__ import annotations

import signal


def end_like_ctrl_c() -> None:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt; a SIGHUP that is ignored, as under nohup, stays so."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
