"""Millrace's engine: supervisor, task processes, pumps and what they share."""

__version__ = "0.1.0"
