"""The machine: sockets, log files, signals."""
