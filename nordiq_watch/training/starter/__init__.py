"""Makes the starter model that ships with the program, from synthetic series alone."""
