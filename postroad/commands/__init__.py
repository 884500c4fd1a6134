"""What the command line and the console do alike. Prints nothing, and asks nobody."""
