"""Files of samples as other programs write them → rows by the names of nordiq_watch."""
