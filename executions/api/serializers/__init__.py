"""What comes in over HTTP and what goes out, a module per noun; services decide what it means."""
