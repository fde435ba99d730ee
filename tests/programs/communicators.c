// Communicators: dup, split, intercommunicators, groups, Cartesian and graph topologies, attributes, made and freed again and again.
#include "check.h"

static uint64_t hash;
static int deleted;

static int on_delete(MPI_Comm comm, int key, void *value, void *extra) {
  (void)comm;
  (void)key;
  (void)extra;
  deleted += (int)(intptr_t)value;
  return MPI_SUCCESS;
}

static void split_and_dup(int step) {
  MPI_Comm half, dup;
  MPI_Comm_split(MPI_COMM_WORLD, (rank + step) % 2, -rank, &half);
  MPI_Comm_dup(half, &dup);
  int key;
  MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_delete, &key, NULL);
  MPI_Comm_set_attr(dup, key, (void *)(intptr_t)1);
  int r, n, sum;
  MPI_Comm_rank(dup, &r);
  MPI_Comm_size(dup, &n);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, dup);
  int expected = 0;
  for (int i = 0; i < size; i++)
    if ((i + step) % 2 == (rank + step) % 2) expected += i;
  CHECK(sum == expected, "sum over my half is %d, not %d", sum, expected);
  hash = mix(mix(hash, (uint64_t)sum), (uint64_t)(r * 100 + n));
  int before = deleted;
  MPI_Comm_free(&dup);
  CHECK(deleted == before + 1, "the attribute's delete function was not called");
  MPI_Comm_free_keyval(&key);
  MPI_Comm_free(&half);
}

static void inter(int step) {
  if (size < 2) return;
  int low = rank < size / 2;
  MPI_Comm local, inter, merged;
  MPI_Comm_split(MPI_COMM_WORLD, low, rank, &local);
  MPI_Intercomm_create(local, 0, MPI_COMM_WORLD, low ? size / 2 : 0, 11 + step % 5, &inter);
  int remote, sum, mine = rank + 1;
  MPI_Comm_remote_size(inter, &remote);
  CHECK(remote == (low ? size - size / 2 : size / 2), "remote size %d", remote);
  MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, inter);
  int expected = 0;
  for (int i = 0; i < size; i++)
    if ((i < size / 2) != low) expected += i + 1;
  CHECK(sum == expected, "sum of the other group is %d, not %d", sum, expected);
  int local_rank;
  MPI_Comm_rank(local, &local_rank);
  if (local_rank < size / 2 && local_rank < size - size / 2) {
    int got = -1;
    MPI_Sendrecv(&rank, 1, MPI_INT, local_rank, 1, &got, 1, MPI_INT, local_rank, 1, inter, MPI_STATUS_IGNORE);
    CHECK(got == (low ? local_rank + size / 2 : local_rank), "partner is %d", got);
  }
  MPI_Intercomm_merge(inter, !low, &merged);
  int merged_rank;
  MPI_Comm_rank(merged, &merged_rank);
  CHECK(merged_rank == rank, "merged rank %d", merged_rank);
  hash = mix(hash, (uint64_t)sum);
  MPI_Comm_free(&merged);
  MPI_Comm_free(&inter);
  MPI_Comm_free(&local);
}

static void topology(int step) {
  MPI_Comm grid;
  int dims[2] = {0, 0}, periods[2] = {1, 1}, coords[2];
  MPI_Dims_create(size, 2, dims);
  MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &grid);
  MPI_Cart_coords(grid, rank, 2, coords);
  int in[4], out = rank + step;
  MPI_Neighbor_allgather(&out, 1, MPI_INT, in, 1, MPI_INT, grid);
  for (int d = 0; d < 2; d++) {
    int down, up;
    MPI_Cart_shift(grid, d, 1, &down, &up);
    CHECK(in[2 * d] == down + step && in[2 * d + 1] == up + step, "neighbours in dimension %d", d);
  }
  hash = mix_bytes(hash, in, sizeof in);
  MPI_Comm row;
  int keep[2] = {0, 1};
  MPI_Cart_sub(grid, keep, &row);
  int width, sum;
  MPI_Comm_size(row, &width);
  MPI_Allreduce(&coords[1], &sum, 1, MPI_INT, MPI_SUM, row);
  CHECK(sum == width * (width - 1) / 2, "row sum %d", sum);
  MPI_Comm_free(&row);
  MPI_Comm_free(&grid);

  MPI_Comm graph;
  int source = (rank + size - 1) % size, destination = (rank + 1) % size, got;
  MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 1, &source, MPI_UNWEIGHTED, 1, &destination, MPI_UNWEIGHTED,
                                 MPI_INFO_NULL, 0, &graph);
  MPI_Neighbor_alltoall(&rank, 1, MPI_INT, &got, 1, MPI_INT, graph);
  CHECK(got == source, "graph neighbour %d", got);
  MPI_Comm_free(&graph);
}

static void groups(void) {
  MPI_Group world, even, odd, both;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  int range[1][3] = {{0, size - 1, 2}};
  MPI_Group_range_incl(world, 1, range, &even);
  MPI_Group_difference(world, even, &odd);
  MPI_Group_union(even, odd, &both);
  int result;
  MPI_Group_compare(world, both, &result);
  CHECK(result != MPI_UNEQUAL, "groups");
  MPI_Comm comm;
  MPI_Comm_create(MPI_COMM_WORLD, even, &comm);
  if (comm != MPI_COMM_NULL) {
    MPI_Barrier(comm);
    MPI_Comm_free(&comm);
  }
  MPI_Group_free(&world);
  MPI_Group_free(&even);
  MPI_Group_free(&odd);
  MPI_Group_free(&both);
}

int main(int argc, char **argv) {
  start(&argc, &argv, 20);
  for (int step = 0; step < iterations; step++) {
    split_and_dup(step);
    inter(step);
    topology(step);
    groups();
    pace();
  }
  finish("communicators", hash);
  return 0;
}
