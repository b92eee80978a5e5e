"""Avro with a schema registry.

converter.py      configuration, and who does what
definitions.py    a registered schema: checked, and its names
to_connect.py     schemas of Avro to Connect's          from_connect.py   and back
binding.py        values of a Connect schema under a registered one
reader.py         a compiled function from bytes        writer.py         and to bytes
explain.py        what is wrong, and where
nodes.py          the tree both are compiled of         names.py, defaults.py, anything.py   Confluent's conventions
"""

from converters.avro.converter import AvroConfig, AvroConverter

__all__ = ["AvroConfig", "AvroConverter"]
