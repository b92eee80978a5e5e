"""PostgreSQL as a source: tables that are polled, and changes as they happen.

polling_connector.py   PostgresPollingSource: which tables, dealt to tasks
polling.py             its task: tables in turn, each from where it was left
polling_config.py      its keys
passes.py              one pass over a table or query: SQL, rows, offsets
relations.py           what a table or query gives: columns, types, keys
values.py              PostgreSQL's text becomes values of Connect
"""
