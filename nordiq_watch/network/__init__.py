"""Numbers in, quantiles out: a window of metrics becomes network inputs, the network's output becomes quantiles."""
