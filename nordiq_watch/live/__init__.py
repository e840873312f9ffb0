"""The model in use: one version, whole and immutable, and the reference that a swap replaces."""
