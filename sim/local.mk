# sim: sources and products of this room
