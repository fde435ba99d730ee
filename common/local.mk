# common: sources and products of this room
