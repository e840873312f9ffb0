"""Who may do what, how often, and the record of who did: keys, rate limits, audit."""
