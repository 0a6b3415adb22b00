"""Neighbours, exact and from an index; mining of pairs; the server."""
