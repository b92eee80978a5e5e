"""PostgreSQL, spoken to by psycopg 3 (`millrace[postgres]`).

sink.py          the connector and its task: what is done with a batch, and in which order
config.py        keys, and which table a topic goes to
rows.py          a batch becomes groups of rows that have the same columns
texts.py         columns become COPY's text
types.py         Connect's types and PostgreSQL's, both ways
tables.py        what a table is like; tables and columns that are made
writing.py       a group becomes rows of a table: COPY, or COPY and merge
halving.py       which rows of many the server refuses
offsets.py       how far each partition is, kept in the same transaction as its rows
session.py       one connection          addresses.py   where it goes, and as whom
refusals.py      what an error of the server means for us
checking.py      what can be found out before a task starts
"""
