"""What all processes share: where things are, what they are to do, what they say. Standard library only."""
