"""What the store's events lead to: suppression, brake."""
