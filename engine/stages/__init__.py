"""What happens to a batch: transform, convert, tolerate. Pure functions of batches; they don't know where they run."""
