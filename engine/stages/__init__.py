"""What happens to a batch on its way: transform, convert. Pure functions of batches; they don't know where they run."""
