"""A local web page on run directories. It reads files only, and answers only this machine."""
