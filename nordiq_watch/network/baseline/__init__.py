"""The built-in forecast: what a few lines of algebra say of a window, without any training."""
