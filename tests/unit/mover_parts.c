// Parts of the mover: replicas, messages, the shared disk's files, and who is let in.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "tests/unit/mover_world.h"

// ---- replicas ---------------------------------------------------------------------------------------------------------

static int read_log(const char *folder, uint64_t job_hash, uint32_t rank, struct egd_replica *replica) {
  char path[640];
  snprintf(path, sizeof path, "%s/determinants/rank-%u.log", folder, rank);
  return egd_disk_read(path, job_hash, rank, replica);
}

static void test_replica(void) {
  struct egd_replica replica = {0};
  struct egd_replica_state state = {.tail = 100, .polls = 5};
  size_t length = 100;
  ok(egd_replica_append(&replica, 100, false, &state, "x", 1) == EGD_ERR_CORRUPT,
     "a replica begins where its origin says that it begins");
  ok(egd_replica_append(&replica, 100, true, &state, "abcdef", 6) == EGD_OK && !replica.known, "pieces wait for a cut");
  ok(egd_replica_commit(&replica) && replica.state.head == 106 && replica.state.polls == 5, "a cut makes them count");
  ok(egd_replica_append(&replica, 108, false, &state, "i", 1) == EGD_ERR_CORRUPT, "a gap is refused");
  state.polls = 9;
  ok(egd_replica_append(&replica, 104, false, &state, "efgh", 4) == EGD_OK, "what is there already is skipped");
  egd_replica_rollback(&replica);
  ok(replica.state.head == 106 && !egd_replica_commit(&replica), "without a cut it is forgotten");
  egd_replica_append(&replica, 106, false, &state, "gh", 2);
  egd_replica_commit(&replica);
  const unsigned char *bytes = egd_replica_bytes(&replica, 101, &length);
  ok(bytes && length == 7 && memcmp(bytes, "bcdefgh", 7) == 0, "bytes are read back by position");
  state.tail = 500;
  ok(egd_replica_append(&replica, 500, true, &state, "new", 3) == EGD_OK && replica.state.head == 108,
     "a log that starts anew does not touch the old one");
  egd_replica_commit(&replica);
  length = 100;
  ok(replica.state.head == 503 && !egd_replica_bytes(&replica, 108, &length), "before its cut");
  state.tail = 400;
  ok(egd_replica_append(&replica, 503, false, &state, "", 0) == EGD_ERR_CORRUPT, "a tail does not go back");
  egd_replica_clear(&replica);
}

// ---- messages -----------------------------------------------------------------------------------------------------------

static void test_wire(void) {
  struct egd_mover_message message = {.kind = EGD_MOVER_DATA, .id = 3, .v = {1, 2, 3}}, opened;
  unsigned char body[EGD_MOVER_HEAD + 32] = {0};
  const unsigned char *data;
  size_t length;
  egd_mover_seal(&message, "payload", 7, 99);
  memcpy(body, &message, sizeof message);
  memcpy(body + sizeof message, "payload", 7);
  size_t size = sizeof message + 7;
  ok(egd_mover_open(body, size, 99, 4, &opened, &data, &length) == EGD_OK && length == 7 && opened.v[2] == 3,
     "a message comes as it went");
  ok(egd_mover_open(body, size, 98, 4, &opened, &data, &length) == EGD_ERR_CORRUPT, "not of another session");
  bool refused = true;
  for (size_t i = 0; i < size; i++) {
    body[i] ^= 0x10;
    refused &= egd_mover_open(body, size, 99, 4, &opened, &data, &length) == EGD_ERR_CORRUPT;
    body[i] ^= 0x10;
  }
  ok(refused, "any changed byte is noticed");
  for (size_t n = 0; n < size; n++) refused &= egd_mover_open(body, n, 99, 4, &opened, &data, &length) != EGD_OK;
  ok(refused, "and any missing one");
  message = (struct egd_mover_message){.kind = EGD_MOVER_NEWS, .from = 4};
  egd_mover_seal(&message, NULL, 0, 99);
  ok(egd_mover_open((unsigned char *)&message, sizeof message, 99, 4, &opened, &data, &length) == EGD_ERR_CORRUPT,
     "there is no rank 4 among 4");
  struct egd_mover_record record = {.kind = EGD_RECORD_LINK};
  ok(egd_mover_check_record(&record) != EGD_OK, "a peer cannot send a link");
}

// ---- the shared disk ----------------------------------------------------------------------------------------------------

static bool commit(struct egd_disk *disk, uint64_t cut, const struct egd_disk_entry *entry) {
  char why[200];
  int status = -1;
  if (egd_disk_submit(disk, cut, entry, 1) != EGD_OK) return false;
  for (int i = 0; i < 5000; i++) {
    if (egd_disk_finished(disk, &status, why, sizeof why) == cut) return status == EGD_OK;
    usleep(1000);
  }
  return false;
}

static void test_disk(void) {
  char folder[] = "/tmp/egida-disk-XXXXXX", why[200], path[100];
  if (!mkdtemp(folder)) abort();
  struct egd_disk *disk;
  static unsigned char *ring;
  ring = mmap(NULL, EGD_DETERMINANT_RING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  // Across the ring's end.
  uint64_t begin = 3 * EGD_DETERMINANT_RING - 50;
  for (uint64_t i = 0; i < 200; i++) ring[(begin + i) % EGD_DETERMINANT_RING] = (unsigned char)i;
  ok(egd_disk_create(folder, 77, &disk, why, sizeof why) == EGD_OK, "a folder for determinants");
  struct egd_disk_entry entry = {.rank = 2,
                                 .ring = ring,
                                 .from = begin,
                                 .restart = true,
                                 .state = {.tail = begin, .head = begin + 100, .polls = 7}};
  ok(commit(disk, 1, &entry), "a first run is written");
  entry.from = begin + 100;
  entry.restart = false;
  entry.state = (struct egd_replica_state){.tail = begin + 10, .head = begin + 150, .polls = 8};
  ok(commit(disk, 2, &entry), "and another");
  struct egd_replica replica = {0};
  int status = read_log(folder, 77, 2, &replica);
  size_t length = 140;
  const unsigned char *bytes = egd_replica_bytes(&replica, begin + 10, &length);
  bool same = bytes && length == 140;
  for (size_t i = 0; same && i < length; i++) same = bytes[i] == i + 10;
  ok(status == EGD_OK && same && replica.state.head == begin + 150 && replica.state.polls == 8, "they are read back");
  egd_replica_clear(&replica);
  ok(read_log(folder, 78, 2, &replica) == EGD_ERR_FOREIGN, "not by another job");
  egd_replica_clear(&replica);
  ok(read_log(folder, 77, 3, &replica) == EGD_ERR_NOT_FOUND, "a rank without a log has none");
  snprintf(path, sizeof path, "%s/determinants/rank-2.log", folder);
  struct stat st;
  bool prefixes = stat(path, &st) == 0 && (st.st_mode & 0777) == 0600;
  for (off_t size = st.st_size - 1; size > 0 && prefixes; size -= 13) {
    if (truncate(path, size) != 0) abort();
    status = read_log(folder, 77, 2, &replica);
    prefixes = size >= 72 + 100 ? status == EGD_OK && replica.state.head == begin + 100 : status == EGD_ERR_CORRUPT;
    egd_replica_clear(&replica);
  }
  ok(prefixes, "a torn end costs only the last run; a torn beginning is an error");
  entry = (struct egd_disk_entry){.rank = 2,
                                  .ring = ring,
                                  .from = begin + 20,
                                  .restart = true,
                                  .state = {.tail = begin + 20, .head = begin + 150, .polls = 9}};
  ok(commit(disk, 3, &entry) && read_log(folder, 77, 2, &replica) == EGD_OK && replica.state.tail == begin + 20,
     "a log that starts anew replaces the file");
  egd_replica_clear(&replica);
  egd_disk_destroy(disk);
  if (unlink(path) != 0 || symlink("/etc/passwd", path) != 0) abort();
  ok(read_log(folder, 77, 2, &replica) == EGD_ERR_FOREIGN, "links are not followed");
  munmap(ring, EGD_DETERMINANT_RING);
  egd_remove_tree(folder);
}

// ---- who is let in --------------------------------------------------------------------------------------------------------

static bool connected(uint32_t a, uint32_t b) {
  for (int i = 0; i < 3000; i++) {
    if (mover_up(&nodes[a].mover->peers[b]) && mover_up(&nodes[b].mover->peers[a])) return true;
    turn();
    usleep(20);
  }
  return false;
}

static int connect_to(uint32_t i) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  const char *port = strrchr(egd_mover_address(nodes[i].mover), ':') + 1;
  address.sin_port = htons((uint16_t)atoi(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) abort();
  return fd;
}

// What a stranger gets back before he is thrown out.
static ssize_t reply_to(uint32_t i, const void *data, size_t length, bool *ret_closed) {
  int fd = connect_to(i);
  unsigned char reply[4096];
  ssize_t total = 0;
  *ret_closed = false;
  if (length > 0 && send(fd, data, length, MSG_NOSIGNAL) < 0) abort();
  for (int k = 0; k < 300 && !*ret_closed; k++) {
    turn();
    ssize_t n = recv(fd, reply, sizeof reply, MSG_DONTWAIT);
    if (n > 0) total += n;
    *ret_closed = n == 0 || (n < 0 && errno != EAGAIN);
  }
  close(fd);
  return total;
}

static size_t hello(unsigned char *to, uint32_t node, uint32_t incarnation, uint64_t job) {
  unsigned char nonce[32] = {1};
  struct egd_mover_message message = {
      .kind = EGD_MOVER_HELLO, .id = node, .from = incarnation, .v = {EGD_MOVER_VERSION, job, nranks}};
  egd_mover_seal(&message, nonce, sizeof nonce, 0);
  uint32_t length = sizeof message + sizeof nonce;
  memcpy(to, &length, 4);
  memcpy(to + 4, (unsigned char[4]){EGD_FRAME_BINARY}, 4);
  memcpy(to + 8, &message, sizeof message);
  memcpy(to + 8 + sizeof message, nonce, sizeof nonce);
  return 8 + length;
}

static void test_admission(void) {
  make_world(2, 2, 2, EGD_DETERMINANT_PROCESSES, 1);
  ok(connected(0, 1), "who knows the secret is let in");
  unsigned char data[8192];
  bool closed;
  size_t size = hello(data, 0, 1, 43);
  ssize_t got = reply_to(1, data, size, &closed);
  ok(closed && got == 0, "another job's agent is not answered");
  size = hello(data, 0, 2, 42);
  got = reply_to(1, data, size, &closed);
  ok(closed && got == 0, "nor is an incarnation that is not in the view");
  size = hello(data, 1, 1, 42);
  got = reply_to(1, data, size, &closed);
  ok(closed && got == 0, "nor somebody who says that he is we");
  size = hello(data, 0, 1, 42);
  got = reply_to(1, data, size, &closed);
  ok(!closed && got == 96, "a right hello is answered by a hello, no more");
  // A hello and a proof by the wrong key.
  struct egd_mover_message proof = {.kind = EGD_MOVER_PROOF};
  unsigned char digest[32] = {9};
  egd_mover_seal(&proof, digest, sizeof digest, 0);
  memcpy(data + size, &(uint32_t){sizeof proof + sizeof digest}, 4);
  memcpy(data + size + 4, (unsigned char[4]){EGD_FRAME_BINARY}, 4);
  memcpy(data + size + 8, &proof, sizeof proof);
  memcpy(data + size + 8 + sizeof proof, digest, sizeof digest);
  got = reply_to(1, data, size + 8 + sizeof proof + sizeof digest, &closed);
  ok(closed && got <= 96, "a wrong proof ends it, and gets no proof back");
  for (int i = 0; i < 200; i++) {
    for (size_t k = 0; k < 300; k++) data[k] = (unsigned char)dice(256);
    reply_to(1, data, dice(300), &closed);
  }
  send_one(0, 1);
  send_one(1, 0);
  ok(mover_up(&nodes[0].mover->peers[1]) && settle(), "noise from strangers disturbs nobody");
  end_world();

  make_world(2, 2, 2, EGD_DETERMINANT_PROCESSES, 1);
  stop_node(0);
  nodes[0].incarnation--;
  start_node(0, 8);
  tell_view();
  ok(!connected(0, 1), "an agent with another secret stays outside");
  end_world();

  make_world(2, 2, 2, EGD_DETERMINANT_PROCESSES, 1);
  connected(0, 1);
  struct egd_mover_node list[2] = {{.alive = true, .incarnation = 2, .address = "127.0.0.1:1"},
                                   {.alive = true, .incarnation = 1, .address = "127.0.0.1:1"}};
  uint32_t home[2] = {0, 1};
  struct egd_mover_view view = {.epoch = ++epoch, .nnodes = 2, .nranks = 2, .nodes = list, .home = home};
  bool fenced = egd_mover_set_view(nodes[1].mover, &view) == EGD_OK && !mover_up(&nodes[1].mover->peers[0]);
  for (int i = 0; i < 200; i++) turn();
  ok(fenced && !mover_up(&nodes[1].mover->peers[0]), "a node that was given up is cut off, and not let in again");
  ok(egd_mover_set_view(nodes[0].mover, &view) == EGD_ERR_FOREIGN && egd_mover_stable(nodes[0].mover) == 0,
     "and learns it: nothing leaves it any more");
  end_world();
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  test_replica();
  test_wire();
  test_disk();
  test_admission();
  printf("1..%d\n", test_number);
  return test_failed;
}
