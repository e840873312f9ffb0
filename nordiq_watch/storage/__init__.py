"""What survives a crash: the journal of samples, and the operator's decisions about models."""
