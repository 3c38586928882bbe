"""Sockets: peer links and their handshake, the two listeners, the command protocol and its client.

`frames` and `auth` know bytes and no socket; `outbox`, `dial` and `links` send, `serve`, `listen` and
`commands` receive. What the frames mean is `cluster/`'s.
"""
