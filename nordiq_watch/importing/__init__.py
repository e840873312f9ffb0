"""History from files → a dataset, and what is said about it."""
