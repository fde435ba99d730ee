// MPI-IO: collective writes, file views, shared file pointers, ordered and individual access. Files go to the current folder and stay.
#include "check.h"

enum { EACH = 1000 };

int main(int argc, char **argv) {
  start(&argc, &argv, 4);
  uint64_t hash = 0;
  int block[EACH], back[EACH];
  for (int step = 0; step < iterations; step++) {
    MPI_File file;
    char name[64];
    snprintf(name, sizeof name, "mpiio-%d.data", step % 2);
    for (int i = 0; i < EACH; i++) block[i] = rank * 1000000 + step * EACH + i;

    CHECK(MPI_File_open(MPI_COMM_WORLD, name, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file) == MPI_SUCCESS,
          "open %s", name);
    MPI_File_set_size(file, 0);
    MPI_File_write_at_all(file, (MPI_Offset)rank * (MPI_Offset)sizeof block, block, EACH, MPI_INT, MPI_STATUS_IGNORE);
    pace();
    MPI_File_sync(file);
    MPI_Barrier(MPI_COMM_WORLD);
    int peer = (rank + 1) % size;
    MPI_File_read_at_all(file, (MPI_Offset)peer * (MPI_Offset)sizeof block, back, EACH, MPI_INT, MPI_STATUS_IGNORE);
    for (int i = 0; i < EACH; i++)
      CHECK(back[i] == peer * 1000000 + step * EACH + i, "read_at_all: word %d is %d", i, back[i]);
    hash = mix_bytes(hash, back, sizeof back);

    // interleaved by a view
    MPI_Datatype strided;
    MPI_Type_vector(EACH / 10, 10, 10 * size, MPI_INT, &strided);
    MPI_Type_commit(&strided);
    MPI_File_set_view(file, (MPI_Offset)(rank * 10) * (MPI_Offset)sizeof(int), MPI_INT, strided, "native",
                      MPI_INFO_NULL);
    MPI_File_write_all(file, block, EACH, MPI_INT, MPI_STATUS_IGNORE);
    MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL);
    MPI_File_sync(file);
    MPI_Barrier(MPI_COMM_WORLD);
    int row[10];
    MPI_File_read_at(file, peer * 10, row, 10, MPI_INT, MPI_STATUS_IGNORE);
    CHECK(row[3] == peer * 1000000 + step * EACH + 3, "view: %d", row[3]);
    MPI_Type_free(&strided);
    MPI_File_close(&file);

    // shared file pointer: ordered is deterministic, shared is not, but nothing gets lost
    snprintf(name, sizeof name, "mpiio-shared-%d.data", step % 2);
    MPI_File_open(MPI_COMM_WORLD, name, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file);
    MPI_File_set_size(file, 0);
    MPI_File_write_ordered(file, &block[0], 1, MPI_INT, MPI_STATUS_IGNORE);
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 1; i <= 3; i++) MPI_File_write_shared(file, &block[i], 1, MPI_INT, MPI_STATUS_IGNORE);
    MPI_File_sync(file);
    MPI_Barrier(MPI_COMM_WORLD);
    int *all = calloc((size_t)size * 4, sizeof *all);
    MPI_File_read_at(file, 0, all, size * 4, MPI_INT, MPI_STATUS_IGNORE);
    long sum = 0, expected = 0;
    for (int r = 0; r < size; r++) {
      CHECK(all[r] == r * 1000000 + step * EACH, "ordered: word %d is %d", r, all[r]);
      for (int i = 1; i <= 3; i++) {
        expected += r * 1000000L + step * EACH + i;
        sum += all[size + r * 3 + i - 1];
      }
    }
    CHECK(sum == expected, "shared pointer: the sum is %ld, not %ld", sum, expected);
    hash = mix(hash, (uint64_t)sum);
    free(all);
    MPI_File_close(&file);
  }
  finish("mpiio", hash);
  return 0;
}
