"""Rows of arrays as JSON: a row is written by a list of steps, in C++, or in Python where that was not built."""
