"""Cassandra: topics into tables.

sink.py         the connector and its task
config.py       keys of the connector
mapping.py      keys of each table: which part of a record goes into which column
writer.py       batches written, and what became of them
bad_records.py  records that a table does not take, until they are told
columns.py      parts of records, as columns
codecs.py       types of CQL: values to the bytes that Cassandra stores
times.py        when each row is written
plans.py        records of one shape into rows of one statement
tables.py       what a table is, whether a mapping fits it, and how it is made
changes.py      tables and columns that are made as records need them
rights.py       whether the user may do what is to be done
sender.py       requests in flight
link.py         what all of them ask of a connection
session.py      the connection: addresses, TLS, names and passwords
driver.py       what of the driver is used
errors.py       the driver's errors as ours

Importing this imports no driver: a worker without the extra `millrace[cassandra]` has all else.
"""
