"""The server: sockets, TLS and the adapters that turn bytes into exchanges and back.

Nothing here knows the application: a server is handed a dispatch callable.
"""
