"""Priorities of threads."""

from __future__ import annotations

import os
import threading


def lower_priority(nice: int) -> None:
    """Makes the calling thread, and those that it starts (torch's too), give way. On Linux niceness is a thread's."""
    if nice:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
