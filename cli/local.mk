# cli: sources and products of this room
