"""Events posted to other servers."""
