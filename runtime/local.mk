# runtime: sources and products of this room
