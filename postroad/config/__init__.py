"""What people configure: a typed model, and how it is read from a file, the environment and secrets."""
