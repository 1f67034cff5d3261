"""Connections to foreign addresses: the gate in front of them, bounded exchanges, known hosts."""
