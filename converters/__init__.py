"""Converters: one module a format; they import engine.api only."""
