// PMI-1 as MPICH speaks it, and as nobody should.
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "pmix_agent/pmi1.h"
#include "tests/unit/tap_store.h"

static struct egd_pmi1 pmi;
static int client, requests;

static void on_request(void *arg, struct egd_pmi1 *p) {
  requests++;
}

static const char *answers(void) {
  static char text[8192];
  ssize_t n = recv(client, text, sizeof(text) - 1, MSG_DONTWAIT);
  text[n > 0 ? n : 0] = 0;
  return text;
}

static bool say(const char *text) {
  return send(client, text, strlen(text), 0) == (ssize_t)strlen(text) && egd_pmi1_read(&pmi);
}

static void talk(const char *line, const char *answer) {
  bool alive = say(line);
  const char *got = answers();
  ok(alive && strcmp(got, answer) == 0, "%.*s -> %.*s", (int)strcspn(line, "\n"), line, (int)strcspn(got, "\n"), got);
}

static void begin(void) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) exit(1);
  client = pair[1];
  egd_pmi1_init(&pmi, 1, 4, pair[0], on_request, NULL);
  requests = 0;
}

int main(void) {
  begin();
  talk("cmd=init pmi_version=1 pmi_subversion=1\n", "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
  talk("cmd=get_maxes\n", "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n");
  talk("cmd=get_appnum\n", "cmd=appnum appnum=0\n");
  talk("cmd=get_universe_size\n", "cmd=universe_size size=4\n");
  talk("cmd=get_my_kvsname\n", "cmd=my_kvsname kvsname=egida\n");
  talk("cmd=get kvsname=egida key=PMI_process_mapping\n", "cmd=get_result rc=0 msg=success value=(vector,(0,4,1))\n");
  talk("cmd=put kvsname=egida key=k value=a b=c\n", "");
  ok(requests == 1 && pmi.pending == EGD_PMI_PUT && strcmp(pmi.key, "k") == 0 && strcmp(pmi.value, "a b=c") == 0,
     "put is handed on, blanks in the value too (%s)", pmi.value);
  egd_pmi1_reply(&pmi, true, NULL);
  ok(strcmp(answers(), "cmd=put_result rc=0 msg=success\n") == 0 && pmi.pending == 0, "and answered");
  say("cmd=get kvsname=egida key=k\n");
  ok(pmi.pending == EGD_PMI_GET, "get is handed on");
  egd_pmi1_reply(&pmi, true, "value");
  ok(strcmp(answers(), "cmd=get_result rc=0 msg=success value=value\n") == 0, "and answered");
  say("cmd=get kvsname=egida key=none\n");
  egd_pmi1_reply(&pmi, false, NULL);
  ok(strstr(answers(), "rc=-1") != NULL, "no such key");
  say("cmd=barrier_in\n");
  ok(pmi.pending == EGD_PMI_BARRIER && !*answers(), "a barrier waits");
  egd_pmi1_reply(&pmi, true, NULL);
  ok(strncmp(answers(), "cmd=barrier_out", 15) == 0, "and ends");
  talk("mcmd=spawn\nnprocs=2\nexecname=./x\nendcmd\n",
       "cmd=spawn_result rc=-1 msg=MPI_Comm_spawn_is_not_supported_by_Egida\n");
  talk("cmd=publish_name service=s port=p\n",
       "cmd=publish_result rc=-1 info=fail msg=name_service_is_not_supported_by_Egida\n");
  talk("cmd=finalize\n", "cmd=finalize_ack\n");
  say("cmd=abort exitcode=3\n");
  ok(pmi.pending == EGD_PMI_ABORT && pmi.code == 3, "abort with its code");
  pmi.pending = 0;
  const char *slow = "cmd=get_appnum\ncmd=get_appnum\n";
  size_t answered = 0;
  for (const char *p = slow; *p; p++) {
    char one[2] = {*p, 0};
    say(one);
    if (*answers()) answered++;
  }
  ok(answered == 2, "byte by byte");
  talk("cmd=dance\n", "cmd=dance_result rc=-1 msg=unknown_command\n");
  char key[300];
  memset(key, 'k', sizeof(key));
  memcpy(key, "cmd=put kvsname=egida key=", 26);
  strcpy(key + 200, " value=v\n");
  say(key);
  ok(strstr(answers(), "rc=-1") && pmi.pending == 0, "a key that is too long is refused");
  ok(!say("nonsense\n"), "what is no command ends the connection");
  begin();
  char long_line[6000];
  memset(long_line, 'x', sizeof(long_line) - 1);
  long_line[sizeof(long_line) - 1] = 0;
  ok(!say(long_line) || !egd_pmi1_read(&pmi), "a line without end too");
  begin();
  close(client);
  ok(!egd_pmi1_read(&pmi), "and the end of the stream");
  return done();
}
