"""Formats of other programs: Prometheus remote write, Telegraf and collectd become readings of our metrics."""
