# protocol: sources and products of this room
