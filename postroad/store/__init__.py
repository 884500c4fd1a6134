"""The event store: what happened to each message, for as long as retention holds."""
