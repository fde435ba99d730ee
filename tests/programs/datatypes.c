// Derived datatypes on both sides of messages: vector, indexed, struct, subarray, resized, pack and unpack, also across different layouts.
#include "check.h"
#include <stddef.h>

enum { N = 120 };
static uint64_t hash;

static void exchange(void *out, int out_count, MPI_Datatype out_type, void *in, int in_count, MPI_Datatype in_type) {
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  MPI_Sendrecv(out, out_count, out_type, right, 5, in, in_count, in_type, left, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void matrix_column_to_row(int step) {
  static double matrix[N][N], row[N];
  int left = (rank + size - 1) % size, column_number = step % N;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) matrix[i][j] = rank * 1e6 + i * 1e3 + j;
  MPI_Datatype column;
  MPI_Type_vector(N, 1, N, MPI_DOUBLE, &column);
  MPI_Type_commit(&column);
  exchange(&matrix[0][column_number], 1, column, row, N, MPI_DOUBLE);
  for (int i = 0; i < N; i++) CHECK(row[i] == left * 1e6 + i * 1e3 + column_number, "column: word %d is %g", i, row[i]);
  // and a row into a column: a transposition in transit, with a resized type for several columns
  MPI_Datatype wide;
  MPI_Type_create_resized(column, 0, sizeof(double), &wide);
  MPI_Type_commit(&wide);
  static double transposed[N][N];
  exchange(matrix, N * N, MPI_DOUBLE, transposed, N, wide);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) CHECK(transposed[j][i] == left * 1e6 + i * 1e3 + j, "transposition at %d,%d", i, j);
  hash = mix_bytes(hash, transposed, sizeof transposed);
  MPI_Type_free(&wide);
  MPI_Type_free(&column);
}

static void indexed(int step) {
  enum { BLOCKS = 20 };
  int lengths[BLOCKS], at[BLOCKS], total = 0, where = 0;
  for (int b = 0; b < BLOCKS; b++) {
    lengths[b] = 1 + (b * 7 + step) % 9;
    at[b] = where;
    where += lengths[b] + 3;
    total += lengths[b];
  }
  MPI_Datatype type;
  MPI_Type_indexed(BLOCKS, lengths, at, MPI_INT, &type);
  MPI_Type_commit(&type);
  int *out = malloc((size_t)where * sizeof *out), *in = malloc((size_t)where * sizeof *in),
      *flat = malloc((size_t)total * sizeof *flat);
  for (int i = 0; i < where; i++) {
    out[i] = rank * 1000 + i;
    in[i] = -7;
  }
  exchange(out, 1, type, in, 1, type);
  int left = (rank + size - 1) % size;
  for (int b = 0, i = 0; i < where; i++) {
    while (b < BLOCKS && i >= at[b] + lengths[b]) b++;
    int inside = b < BLOCKS && i >= at[b];
    CHECK(in[i] == (inside ? left * 1000 + i : -7), "indexed: word %d is %d", i, in[i]);
  }
  exchange(out, 1, type, flat, total, MPI_INT);
  hash = mix_bytes(hash, flat, (size_t)total * sizeof *flat);
  free(out);
  free(in);
  free(flat);
  MPI_Type_free(&type);
}

struct particle {
  char kind;
  double position[3];
  int id;
  float charge;
};

static void structs(int step) {
  enum { COUNT = 50 };
  struct particle out[COUNT], in[COUNT];
  memset(out, 0, sizeof out);
  memset(in, 0, sizeof in);
  MPI_Datatype raw, type, types[4] = {MPI_CHAR, MPI_DOUBLE, MPI_INT, MPI_FLOAT};
  int lengths[4] = {1, 3, 1, 1};
  MPI_Aint at[4] = {offsetof(struct particle, kind), offsetof(struct particle, position), offsetof(struct particle, id),
                    offsetof(struct particle, charge)};
  MPI_Type_create_struct(4, lengths, at, types, &raw);
  MPI_Type_create_resized(raw, 0, sizeof(struct particle), &type);
  MPI_Type_commit(&type);
  for (int i = 0; i < COUNT; i++)
    out[i] = (struct particle){(char)('a' + i % 26), {rank, step, i}, rank * COUNT + i, 0.5f * (float)i};
  exchange(out, COUNT, type, in, COUNT, type);
  int left = (rank + size - 1) % size;
  for (int i = 0; i < COUNT; i++)
    CHECK(in[i].kind == 'a' + i % 26 && in[i].position[0] == left && in[i].position[2] == i &&
              in[i].id == left * COUNT + i && in[i].charge == 0.5f * (float)i,
          "struct %d", i);
  char buffer[4096];
  int where = 0;
  MPI_Pack(out, 20, type, buffer, sizeof buffer, &where, MPI_COMM_WORLD);
  MPI_Pack(&step, 1, MPI_INT, buffer, sizeof buffer, &where, MPI_COMM_WORLD);
  MPI_Bcast(&where, 1, MPI_INT, 0, MPI_COMM_WORLD);
  MPI_Bcast(buffer, where, MPI_PACKED, step % size, MPI_COMM_WORLD);
  int end = where, got;
  where = 0;
  MPI_Unpack(buffer, end, &where, in, 20, type, MPI_COMM_WORLD);
  MPI_Unpack(buffer, end, &where, &got, 1, MPI_INT, MPI_COMM_WORLD);
  CHECK(got == step && in[7].id == (step % size) * COUNT + 7, "unpack");
  hash = mix(hash, (uint64_t)in[19].id);
  MPI_Type_free(&type);
  MPI_Type_free(&raw);
}

static void subarrays(int step) {
  enum { SIDE = 64 };
  static int cube[SIDE][SIDE], face[SIDE][SIDE];
  int sizes[2] = {SIDE, SIDE}, part[2] = {SIDE / 2, SIDE / 4}, from[2] = {step % 32, step % 48};
  MPI_Datatype type;
  MPI_Type_create_subarray(2, sizes, part, from, MPI_ORDER_C, MPI_INT, &type);
  MPI_Type_commit(&type);
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) cube[i][j] = rank * 10000 + i * SIDE + j;
  memset(face, 0, sizeof face);
  exchange(cube, 1, type, face, 1, type);
  int left = (rank + size - 1) % size;
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      int inside = i >= from[0] && i < from[0] + part[0] && j >= from[1] && j < from[1] + part[1];
      CHECK(face[i][j] == (inside ? left * 10000 + i * SIDE + j : 0), "subarray at %d,%d", i, j);
    }
  hash = mix_bytes(hash, face, sizeof face);
  MPI_Type_free(&type);
}

int main(int argc, char **argv) {
  start(&argc, &argv, 40);
  for (int step = 0; step < iterations; step++) {
    matrix_column_to_row(step);
    indexed(step);
    structs(step);
    subarrays(step);
    pace();
  }
  finish("datatypes", hash);
  return 0;
}
