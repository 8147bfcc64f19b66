"""cTrader's WebServices API."""
