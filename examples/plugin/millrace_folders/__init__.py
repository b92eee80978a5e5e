"""Folders of files as topics, and back; an example of a plugin. It imports engine.api and nothing else of Millrace."""
