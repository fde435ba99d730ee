# pmix_agent: sources and products of this room
