"""What the daemon says: events in the log, the same figures as metrics, and its health over HTTP."""
