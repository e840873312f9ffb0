"""Settings: the schema, how they are loaded, and how a mistake in them is told."""
