"""What the converters share that keep their schemas in a registry which speaks Confluent's REST API.

config.py     keys: where the registry is, who asks, what is registered under which name
client.py     subjects, ids and versions over HTTP, kept; what cannot be reached, and what does not exist
tls.py        the context of an https registry
wire.py       magic byte and id in front of every payload
converter.py  columns, grouped by schema one way and by id the other; a format fills in the rest
"""
