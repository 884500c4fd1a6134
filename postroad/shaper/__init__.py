"""Mail of routes with limits of their own: it leaves when the limits let it."""
