"""From a dropped directory to the live model: seen, complete, verified, loaded, proven, swapped in."""
