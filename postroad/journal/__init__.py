"""Events on disk between PID 1 and the recorder."""
