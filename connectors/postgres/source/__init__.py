"""PostgreSQL as a source: tables that are polled, and changes as they happen.

polling_connector.py   PostgresPollingSource: which tables, dealt to tasks
polling.py             its task: tables in turn, each from where it was left
polling_config.py      its keys
passes.py              one pass over a table or query: SQL, rows, offsets
relations.py           what a table or query gives: columns, types, keys
changes_connector.py   PostgresSource: changes, by logical decoding
changes.py             its task: what the slot tells becomes records, what Kafka has is confirmed
changes_config.py      its keys
snapshot.py            what is there before, by ranges of pages
capturing.py           changes of one table become records: rows, or Debezium's envelopes
gathering.py           changes of one poll, by table, with their offsets
transactions.py        where the stream is           positions.py  what an offset says of that
history.py             whether log and slot are those that the offset is of
replication.py         the stream of a slot          pgoutput.py   what is said in it   tuples.py  rows, many at once
slots.py               slot and publication: made, looked at, watched
values.py              PostgreSQL's text becomes values of Connect
decoding.py            numbers and dates of it, a column at once
"""
