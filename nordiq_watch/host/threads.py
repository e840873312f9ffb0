"""Priorities of threads."""

from __future__ import annotations

import os
import threading


def lower_priority(nice: int) -> None:
    """Makes the calling thread, and those that it starts (torch's too), give way. On Linux niceness is a thread's.

    A process that was started with a lower priority keeps it: only root may raise one.
    """
    thread = threading.get_native_id()
    if nice > os.getpriority(os.PRIO_PROCESS, thread):
        os.setpriority(os.PRIO_PROCESS, thread, nice)
