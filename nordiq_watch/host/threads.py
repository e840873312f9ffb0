"""Scheduling of threads: priority and switch interval."""

from __future__ import annotations

import os
import sys
import threading

_TURN_SECONDS = 0.001


def lower_priority(nice: int) -> None:
    """Lowers the priority of the calling thread and of threads it starts, torch's included. On Linux niceness is per
    thread.

    A lower priority of the whole process is kept: only root may raise one.
    """
    thread = threading.get_native_id()
    if nice > os.getpriority(os.PRIO_PROCESS, thread):
        os.setpriority(os.PRIO_PROCESS, thread, nice)


def take_turns_sooner() -> None:
    """Sets Python's switch interval to one millisecond instead of five, unless it is shorter already.

    The connection loop waits for the GIL after each system call. With eight threads busy for pipelining clients, five
    milliseconds each meant five seconds to close some hundred connections and to read from the ones behind them.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), _TURN_SECONDS))
