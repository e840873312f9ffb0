"""From a dataset to a model directory. Runs as its own process; the daemon never imports it."""
