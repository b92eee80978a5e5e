"""Protocol Buffers with a schema registry.

converter.py      configuration, and who does what
parser.py         the text of a `.proto` file to its descriptor      files.py    registered files, in a pool
from_connect.py   a schema of Connect to such a text                 names.py    Confluent's conventions
reader.py         messages to structs      writer.py   and back      values.py   logical types and checks
indexes.py        which message of a file a payload holds
"""

from converters.protobuf.converter import ProtobufConfig, ProtobufConverter

__all__ = ["ProtobufConfig", "ProtobufConverter"]
