"""The contract: all that connectors, converters, transforms and config providers may import.

    record     SourceRecord, SinkRecord, Header, TopicPartition     one record, the simple way
    batch      SourceBatch, SinkBatch, Repeat, Run, Utf8Column      many of them as columns, the fast way
    schema     Schema and its constants, schema_of                  what a value is
    declared   schema_for, as_struct                                a Python class yields its schema
    headers    Headers                                              the headers of a record as a multimap
    connector  SourceConnector, SinkConnector                       a system, and its work divided into tasks
    task       SourceTask, SinkTask and their contexts              the work
    converter  Converter, RecordConverter, HeaderConverter          bytes to values and back
    transform  Transform, Predicate                                 between connector and converter
    provider   ConfigProvider                                       values of ${provider:path:key}
    config     Config, Key, Password                                configuration as a typed Struct
    errors     ConnectError and its tree                            what may be raised
    map_keys   MapKey                                               a list or map as the key of a map
    values     parse                                                the value a text looks like
    value_casts  as_int32, as_date ...                              one value as another type
    schema_projector  project                                       a value under another version of its schema
    java_text, java_scalars, java_dates, value_text, validation     values as Java prints and checks them
    java_regex, java_date_patterns                                  patterns of texts and dates as Java writes them
    testing    SourceSuite, SinkSuite, FakeSourceContext ...         what holds a plugin to all of this

Each module lists its public names in `__all__`; tests/shape/api.txt lists them all, and a test
holds the two together. The contract is provisional until 1.0: names may still change, and
CHANGELOG.md says so when they do. Imports nothing of the engine outside of this folder.
"""
