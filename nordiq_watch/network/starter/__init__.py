"""The starter: a small map from window to quantiles that ships with the program, for servers that it never saw."""
