"""Formats of files: a reader and a writer for each, and the one door in."""
