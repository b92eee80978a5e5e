"""Configuration the engine owns: files, worker and connector keys, providers, settings of the Kafka clients.

    files ──► providers ──► worker, connector ──► clients
    text      variables     typed keys            librdkafka's settings

Process-neutral: text in, frozen Structs out; nothing is connected, loaded or started here.
"""
