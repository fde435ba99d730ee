# tests: sources and products of this room
