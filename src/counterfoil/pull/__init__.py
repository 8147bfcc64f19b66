"""Platform → mirror: what to read, how far, and when a row is gone."""
