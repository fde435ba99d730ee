# man: sources and products of this room
