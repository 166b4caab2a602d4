"""The routes, one noun a file; `service.app` puts them together and decides which of them need a key."""
