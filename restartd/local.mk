# restartd: sources and products of this room
