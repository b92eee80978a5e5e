"""The soak in short: nothing that can be counted grows with restarts, and every record comes.

Memory needs the hour (`python -m tests.soak`): in minutes the queues of clients are still filling.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.run import Settings, soak

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

FORMS = [
    pytest.param(Settings(0.35, strike_every_s=1.5, look_every_s=0.5, rate_max=5_000, measure_s=2), id="short"),
    pytest.param(Settings(3, strike_every_s=5, look_every_s=1, rate_max=20_000), id="minutes", marks=pytest.mark.long),
]
#: On however slow a machine: each process that is struck was struck once.
RESTARTS_MIN = 4
#: Figures that are no counts.
SIZES = ("memory", "store")


@pytest.mark.parametrize("settings", FORMS)
def test_restarts_leave_nothing_behind_and_lose_nothing(settings: Settings, tmp_path: Path) -> None:
    seen = soak(tmp_path, settings, print)
    assert seen.restarts >= RESTARTS_MIN
    grown = [name for name in seen.with_verdict("grows") if not name.startswith(SIZES)]
    assert not grown, {name: seen.slopes[name] for name in grown}
