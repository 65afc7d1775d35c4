"""What servers of ours share: a listener that gives each connection a thread of its own."""

import socket
import threading


def serve(port: int, converse) -> None:
    """Takes connections for ever; `converse(connection)` runs in the connection's thread, and closes it."""
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    while True:
        connection, _ = listener.accept()
        # Small answers go out at once, whether the client has acknowledged the last one or not.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=converse, args=(connection,), daemon=True).start()
