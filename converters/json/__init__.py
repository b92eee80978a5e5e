"""JSON, with and without schemas.

converter.py   configuration, and who does what
decode.py      bytes to values: strictly and together, else leniently and alone
  reading.py     JSON text to a tree       lenient.py   a tree to a value
  finish.py      dates and their like into what was decoded strictly
encode.py      values to bytes             wire.py      what to encode for a value
  escapes.py     characters as Kafka Connect writes them      locating.py   where a bad value is bad
schemas.py     schemas to JSON and back    logical.py   dates, decimals and their encodings
"""

from converters.json.converter import JsonConfig, JsonConverter

__all__ = ["JsonConfig", "JsonConverter"]
