"""The console: pages for people, made of the same answers as the API."""
