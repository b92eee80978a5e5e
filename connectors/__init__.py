"""Connectors: one folder a system; they import engine.api only."""
