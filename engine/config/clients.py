"""The settings of a line's Kafka client: Kafka Connect's defaults, the worker's and the connector's over them.

    defaults ──► producer.* of the worker ──► producer.override.* of the connector ──► librdkafka's words
    of a line    consumer.*                   consumer.override.*
                 admin.*                      admin.override.*

Names and values are Java's or librdkafka's. What neither knows, and what cannot be translated without changing what
happens to records, is refused with the way there; what does not matter to a line is warned about.

Used by: engine.connector_lines.
Not here: the tables (clients_table.py, clients_java.py), the layers (clients_layers.py), keystores and logins
(clients_security.py), asking librdkafka itself (engine.kafka.producer.check_settings).
"""

from __future__ import annotations

from engine.config.clients_admin import admin_settings
from engine.config.clients_consumer import consumer_settings, member_id
from engine.config.clients_draft import ClientSettings, Setting
from engine.config.clients_producer import producer_settings

__all__ = ["ClientSettings", "Setting", "admin_settings", "consumer_settings", "member_id", "producer_settings"]
