"""Makes sheets, charts and a page to look at from run directories. Reads files only."""
