// Fuzz entry of the mover: what a peer sends, before and after it proved the job's secret.
// Input: first byte even = bytes of a connection as they come; odd = messages {head of 48 bytes, u16 length, data} of a peer that is
// authenticated. With libFuzzer (clang -fsanitize=fuzzer,address -DEGD_LIBFUZZER) it is driven by that; else arguments are files to
// try, or `--random N` tries N inputs of its own making.
#include <stdint.h>
#include <sys/socket.h>
#include "tests/unit/mover_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int raw_frame(void *arg, uint8_t type, const unsigned char *body, size_t length) {
  struct egd_mover_message message;
  const unsigned char *data;
  size_t data_length;
  (void)arg;
  if (type != EGD_FRAME_BINARY) return EGD_ERR_CORRUPT;
  return egd_mover_open(body, length, 0, nranks, &message, &data, &data_length);
}

static void raw(const uint8_t *data, size_t size) {
  struct egd_frame_decoder decoder;
  egd_frame_decoder_init(&decoder, EGD_MOVER_BODY_MAX);
  egd_frame_push(&decoder, data, size, raw_frame, NULL);
  egd_frame_decoder_clear(&decoder);
}

static void messages(const uint8_t *data, size_t size) {
  make_world(2, 2, 4, EGD_DETERMINANT_PROCESSES, 1);
  for (int i = 0; i < 100 && !mover_up(&nodes[0].mover->peers[1]); i++) turn();
  send_one(0, 1);
  take_image(0);
  turn();
  struct mover_peer *peer = &nodes[0].mover->peers[1];
  unsigned char *body = malloc(EGD_MOVER_BODY_MAX);
  while (body && size >= 50 && mover_up(peer)) {
    struct egd_mover_message message = {0}, opened;
    memcpy(&message, data, 48);
    uint32_t length = data[48] | data[49] << 8;
    data += 50;
    size -= 50;
    if (length > size) length = (uint32_t)size;
    egd_mover_seal(&message, data, length, peer->link->seed);
    memcpy(body, &message, sizeof message);
    memcpy(body + sizeof message, data, length);
    data += length;
    size -= length;
    const unsigned char *payload;
    size_t payload_length;
    if (egd_mover_open(body, sizeof message + length, peer->link->seed, nranks, &opened, &payload, &payload_length) !=
        EGD_OK)
      continue;
    if (mover_message(peer, &opened, payload, payload_length) != EGD_OK && peer->link) mover_link_drop(peer->link);
    egd_mover_work(nodes[0].mover);
  }
  free(body);
  for (int i = 0; i < 5; i++) turn();
  end_world();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  nranks = 4;
  if (data[0] & 1)
    messages(data + 1, size - 1);
  else
    raw(data + 1, size - 1);
  return 0;
}

#ifndef EGD_LIBFUZZER
// Messages that are nearly right get further than noise.
static size_t invent(uint8_t *data, size_t most) {
  static const uint8_t kinds[] = {10, 11, 12, 13, 14, 15, 16, 17, 20, 21, 22, 23, 24, 25, 30, 31, 32, 33};
  size_t size = 0;
  data[size++] = dice(10) != 0;
  for (uint32_t n = dice(30); n > 0 && size + 50 + 600 < most; n--) {
    uint64_t values[4];
    uint32_t ids[3];
    for (int i = 0; i < 4; i++) values[i] = dice(3) ? dice(200) : mix(dice(1 << 30)) >> dice(64);
    for (int i = 0; i < 3; i++) ids[i] = dice(5) ? dice(5) : (uint32_t)mix(dice(1 << 30));
    memset(data + size, 0, 50);
    data[size] = kinds[dice(sizeof kinds)];
    data[size + 1] = (uint8_t)dice(2);
    memcpy(data + size + 4, ids, sizeof ids);
    memcpy(data + size + 16, values, sizeof values);
    uint32_t length = dice(2) ? 0 : dice(2) ? 24 * dice(20) : dice(500);
    data[size + 48] = (uint8_t)length;
    data[size + 49] = (uint8_t)(length >> 8);
    size += 50;
    for (uint32_t i = 0; i < length; i++) data[size++] = (uint8_t)(dice(4) ? dice(4) : dice(256));
  }
  return size;
}

int main(int argc, char **argv) {
  static uint8_t data[1 << 20];
  if (argc == 3 && strcmp(argv[1], "--random") == 0) {
    FILE *quiet = freopen("/dev/null", "w", stdout);
    if (!quiet) return 1;
    for (int i = 0; i < atoi(argv[2]); i++) {
      seed = (uint64_t)i;
      size_t size = invent(data, sizeof data);
      LLVMFuzzerTestOneInput(data, size);
    }
    return 0;
  }
  for (int i = 1; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (!file) {
      perror(argv[i]);
      return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
  }
  printf("%d inputs tried\n", argc - 1);
  return 0;
}
#endif
