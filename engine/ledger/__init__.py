"""The ledger: how many records crossed each border of a line, which they were, and whether that adds up.

    source   polled ─► transformed ─► converted ─► produced ─► acknowledged ─► stored
    sink     consumed ─► converted ─► transformed ─► put ─► flushed ─► committed

Each bank keeps the account of its side (source.py, sink.py): at every border what came must equal what goes on and
what was dropped, and nothing that does not add up is put, stored or committed. Between the banks each frame says how
many records, and which, went before it. What outlives a process stands in shared memory (entries.py), and the report
of a run is drawn from there (reckoning.py).
"""
