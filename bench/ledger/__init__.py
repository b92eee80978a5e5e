"""What the ledger costs a record."""
