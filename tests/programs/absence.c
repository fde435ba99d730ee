// "I send because nothing came": a message whose reason is that polls found nothing. A replay that finds something there would not send it.
#include "history.h"

enum { TAG_TOKEN = 1, TAG_IMPATIENT = 2, TAG_END = 3 };

struct note {
  struct claim claim;
  uint64_t number; // impatient: of this complaint; end: how many complaints were sent to the receiver
};

static void send_note(int to, int tag, uint64_t number) {
  struct note note = {history_claim(), number};
  MPI_Send(&note, 3, MPI_UINT64_T, to, tag, MPI_COMM_WORLD);
  history_event(mix((uint64_t)tag, number));
}

int main(int argc, char **argv) {
  start(&argc, &argv, 200);
  history_start();
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  uint64_t complaints = 0, heard = 0, announced = 0;
  int rounds = 0, ends = 0, said_end = 0;
  if (rank == 0) send_note(right, TAG_TOKEN, 0);
  while (ends < size || heard < announced) {
    int flag = 0;
    MPI_Status status;
    for (int polls = 0; polls < 200 && !flag; polls++)
      MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, &status);
    if (!flag) {
      if (!said_end && complaints < 20ull * (uint64_t)(rounds + 1)) send_note(left, TAG_IMPATIENT, complaints++);
      continue;
    }
    struct note note;
    MPI_Recv(&note, 3, MPI_UINT64_T, status.MPI_SOURCE, status.MPI_TAG, MPI_COMM_WORLD, &status);
    history_heard(status.MPI_SOURCE, note.claim);
    switch (status.MPI_TAG) {
    case TAG_TOKEN:
      burn(30);
      pace();
      rounds++;
      if (rank != 0 || rounds < iterations) send_note(right, TAG_TOKEN, (uint64_t)rounds);
      break;
    case TAG_IMPATIENT:
      CHECK(status.MPI_SOURCE == right && note.number == heard, "complaint %" PRIu64 ", not %" PRIu64, note.number,
            heard);
      heard++;
      break;
    default:
      ends++;
      if (status.MPI_SOURCE == right) announced = note.number;
    }
    if (rounds == iterations && !said_end) {
      said_end = 1;
      for (int r = 0; r < size; r++) send_note(r, TAG_END, r == left ? complaints : 0);
    }
  }
  history_compare();
  finish_plain("absence");
  return 0;
}
