"""From a forecast to risk, alerts and the webhook."""
