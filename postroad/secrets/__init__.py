"""Keys, certificates and passwords."""
