"""nordiq_watch: forecasts for a fleet of servers, with models that go live without a restart."""

__version__ = "0.1.0"
