"""How good is a version? Rolling-origin evaluation of what would have been served, on a recorded dataset."""
