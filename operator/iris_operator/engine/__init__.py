"""One pass over one release: observe -> decide -> execute. Knows its Protocols (`ports`), not who implements them."""
