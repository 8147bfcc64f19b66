"""The trading platforms: HTTP, sessions, and one package per API."""
