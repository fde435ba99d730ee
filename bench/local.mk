# bench: sources and products of this room
