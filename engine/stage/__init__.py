"""A stage process: transforms and converters of a task, in a process of their own."""
