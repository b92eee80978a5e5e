"""What should run, and what becomes of it: pure state machines, without processes, clocks or sockets."""
