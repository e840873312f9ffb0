"""With EAGER_SWITCHING in the environment (`make test-threads`) Python changes threads as often as it can.

So it does in every process of a run, and in every process that a test starts: races that are rare at the usual 5 ms
become likely.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

EAGER = str(Path(__file__).parent / "eager")  # its sitecustomize does the same in other processes

SLOWNESS = 5.0 if os.environ.get("EAGER_SWITCHING") else 1.0
"""By how much longer an answer may take: a daemon that changes threads at every step is looked at for races, not for
speed."""

if os.environ.get("EAGER_SWITCHING"):
    sys.setswitchinterval(1e-6)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != EAGER]
    os.environ["PYTHONPATH"] = os.pathsep.join([EAGER, *paths])
