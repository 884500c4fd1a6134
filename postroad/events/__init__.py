"""From the programs' log lines to typed events: the socket, the parser, the model."""
