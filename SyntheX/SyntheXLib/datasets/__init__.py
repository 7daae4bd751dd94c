"""Data sets on disk: format, writer, reader, sample data."""
