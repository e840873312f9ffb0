"""How threads share the interpreter and the cores."""

from __future__ import annotations

import os
import sys
import threading

_TURN_SECONDS = 0.001


def lower_priority(nice: int) -> None:
    """Makes the calling thread, and those that it starts (torch's too), give way. On Linux niceness is a thread's.

    A process that was started with a lower priority keeps it: only root may raise one.
    """
    thread = threading.get_native_id()
    if nice > os.getpriority(os.PRIO_PROCESS, thread):
        os.setpriority(os.PRIO_PROCESS, thread, nice)


def take_turns_sooner() -> None:
    """Python changes threads after a millisecond instead of five, or sooner where that is set already.

    The loop that takes connections waits for its turn after each call of the system. With eight threads busy for
    callers that pipeline, it took five seconds to close some hundred connections and to hear who waited behind them.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), _TURN_SECONDS))
