"""Files of lines: Kafka Connect's FileStreamSource and FileStreamSink.

    source.py    the connector and task that read            lines.py      bytes into lines, and where each ends
    sink.py      the connector and task that write           appender.py   a file that grows by whole blocks
    places.py    whether a file can be read or written, before a task starts

Nothing is imported here: a source does not load what only a sink needs.
"""
