"""Was it right? Forecasts beside what came, and how far the fleet has moved from what was trained on."""
