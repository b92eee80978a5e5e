"""The control process: serves /metrics and leaves snapshots; no plugin code, no record, no fork."""
