"""Imported by every Python at its start when this folder is on PYTHONPATH: threads are changed as often as possible."""

import sys

sys.setswitchinterval(1e-6)
