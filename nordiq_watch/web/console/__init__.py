"""The console: pages for people, built on the API's answers."""
