// Stands in for libraries of UCX that a rank must not load: their functions are in libegida.so, or never called.
typedef int egd_stub_is_not_empty;
