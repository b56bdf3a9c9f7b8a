"""What single steps cost, in one process and without a socket."""
