"""Values that cross rooms: frozen, without behaviour. Arrays in them are never written to once they are made."""
