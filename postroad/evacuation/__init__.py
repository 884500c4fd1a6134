"""A queue that leaves: its messages go to another relay's queue as they are, each once."""
