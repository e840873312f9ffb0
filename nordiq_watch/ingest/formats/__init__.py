"""Formats of other programs: Prometheus remote write and Telegraf become readings of our metrics."""
