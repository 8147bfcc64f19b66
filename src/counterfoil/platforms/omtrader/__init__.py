"""OMTrader's Manager REST API."""
