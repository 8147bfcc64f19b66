"""CRM → platform: claims, attempts, looks for what is unknown, and the books of it all."""
