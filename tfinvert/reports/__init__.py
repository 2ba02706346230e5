"""A finished run directory -> pictures to look at. Reads files only."""
