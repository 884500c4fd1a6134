"""What is sendmail's: its configuration and its queue."""
