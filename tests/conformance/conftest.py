"""The plugin of the examples is held to what ours are held to, without being installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "examples" / "plugin"))
