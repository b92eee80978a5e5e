"""Records out of nothing but a seed, for trying out, testing and measuring.

    source.py    the connector and task: stripes, offsets        bodies.py, orders.py    what the records say
    pace.py      how many records are due

Nothing is imported here, as in connectors.file.
"""
