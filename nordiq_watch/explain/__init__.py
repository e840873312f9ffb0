"""Why the live model forecasts what it forecasts for one server, and what would change it."""
