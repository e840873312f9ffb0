"""What other programs send becomes rows of ours: Prometheus remote write and Telegraf."""
