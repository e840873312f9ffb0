"""The command line. Each command imports what is heavy only when it runs."""
