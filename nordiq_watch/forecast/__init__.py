"""From the window to the published answer: the forecast of the whole fleet."""
