"""The live display: a child that reads the board and draws it on the terminal, and nothing waits for it."""

from engine.display.main import run

__all__ = ["run"]
