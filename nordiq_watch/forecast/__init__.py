"""From fed metrics to the published answer: samples, the window, the forecast of the whole fleet."""
