"""From what arrives to the window: bodies are parsed, checked, written down, and put on the grid of time."""
