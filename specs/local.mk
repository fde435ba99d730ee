# specs: sources and products of this room
