"""Helpers for threads, locks, deadlines, clocks and tracebacks. Nothing here uses HTTP. Import from the modules."""
