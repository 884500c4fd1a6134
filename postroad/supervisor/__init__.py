"""PID 1: prepares the configuration in a process of its own, starts the daemons, keeps them running, and stops them."""
