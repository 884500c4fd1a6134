"""The process that carries events from the journal into the store."""
