"""The steps of `init`: from nothing to the first forecast. Each is passed over where it was done before."""
