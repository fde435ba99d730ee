// srun's own options for input and output. The ranks' output does not come through srun, so the steward does what they
// say; Slurm makes and truncates files of --output and --error as ever, the steward appends.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "spank/plugin.h"

#define WITH_VALUE "ABCDFGJLMNSTWbcdeimnopqrtwx" // one letter
#define WITH_VALUE_BESIDE "IKk"                  // only in the same word

static const struct {
  const char *name;
  size_t least; // shortest abbreviation that means nothing else
  char letter;
} long_names[] = {{"output", 2, 'o'}, {"error", 2, 'e'},      {"input", 2, 'i'}, {"label", 2, 'l'},
                  {"pty", 2, 'y'},    {"multi-prog", 2, 'P'}, {"mpi", 2, 'z'},   {"jobid", 4, 'j'}};

static const char *values[128]; // by letter

static void refuse(const char *option, const char *value, const char *why) {
  slurm_spank_log("egida: %s%s%s: %s", option, value ? "=" : "", value ? value : "", why);
  exit(1);
}

static char letter_of(const char *word, size_t length) {
  for (size_t i = 0; i < sizeof(long_names) / sizeof(long_names[0]); i++)
    if (length >= long_names[i].least && length <= strlen(long_names[i].name) &&
        strncmp(word, long_names[i].name, length) == 0)
      return long_names[i].letter;
  return 0;
}

// Returns how many words it is.
static int take_long(const char *word, const char *next) {
  size_t length = strcspn(word, "=");
  char letter = letter_of(word, length);
  if (!letter) return 1; // the value of one that is not known begins with no '-' and is passed over
  bool is_flag = strchr("lyP", letter);
  bool is_apart = !is_flag && !word[length];
  values[(unsigned char)letter] = is_flag ? "" : is_apart ? next : word + length + 1;
  return 1 + is_apart;
}

static int take_short(const char *letters, const char *next) {
  for (const char *p = letters; *p; p++) {
    if ((unsigned char)*p >= 128 || strchr(WITH_VALUE_BESIDE, *p)) return 1;
    bool has_value = strchr(WITH_VALUE, *p);
    values[(unsigned char)*p] = !has_value ? "" : p[1] ? p + 1 : next;
    if (has_value) return p[1] ? 1 : 2;
  }
  return 1;
}

static void read_options(int end, char **argv) {
  memset(values, 0, sizeof(values));
  if (getenv("SLURM_LABELIO")) values['l'] = "";
  if (getenv("SLURM_SRUN_MULTI")) values['P'] = "";
  values['o'] = getenv("SLURM_STDOUTMODE");
  values['e'] = getenv("SLURM_STDERRMODE");
  for (int i = 1; i < end;) {
    const char *word = argv[i], *next = i + 1 < end ? argv[i + 1] : NULL;
    if (word[0] != '-' || !word[1])
      i++;
    else
      i += word[1] == '-' ? take_long(word + 2, next) : take_short(word + 1, next);
  }
}

static void check_pattern(const char *option, const char *pattern) {
  if (strspn(pattern, "0123456789") == strlen(pattern))
    refuse(option, pattern, "the output of one rank alone cannot be chosen; --label shows which rank wrote a line");
  for (const char *p = pattern; (p = strchr(p, '%'));) {
    p += 1 + strspn(p + 1, "0123456789");
    if (!*p || !strchr("%jJsu", *p))
      refuse(option, pattern,
             "under Egida only %j, %J, %s, %u and %% can be used: there is no file per node or rank; --label "
             "shows which rank wrote a line");
    p++;
  }
}

static size_t add_pattern(const char *option, const char *pattern, const char **arguments) {
  static char texts[2][PATH_MAX + 16];
  if (!pattern || strncasecmp(pattern, "all", 3) == 0 || *pattern == '-') return 0;
  check_pattern(option, pattern);
  char *text = texts[strcmp(option, "--error") == 0];
  if (snprintf(text, sizeof(texts[0]), "%s=%s", option, pattern) >= (int)sizeof(texts[0]))
    refuse(option, pattern, "the path is too long");
  *arguments = text;
  return 1;
}

size_t srun_arguments(int end, char **argv, const char **arguments, const char **ret_input) {
  size_t count = 0;
  read_options(end, argv);
  if (values['P']) refuse("--multi-prog", NULL, "all ranks must run the same program under Egida");
  if (values['y']) refuse("--pty", NULL, "ranks under Egida have no terminal; leave it away");
  if (values['z'] && strcmp(values['z'], "none") != 0)
    refuse("--mpi", values['z'], "Egida serves the ranks itself; leave it away");
  const char *input = values['i'];
  if (input && strcasecmp(input, "none") == 0) input = "/dev/null";
  if (input && (*input == '-' || strncasecmp(input, "all", 3) == 0))
    refuse("--input", input, "leave it away: srun's standard input goes to the program anyway");
  if (input && (strchr(input, '%') || strspn(input, "0123456789") == strlen(input)))
    refuse("--input", input, "only the name of one file, or none, can be given");
  *ret_input = input;
  if (values['l']) arguments[count++] = "--label";
  count += add_pattern("--output", values['o'], arguments + count);
  count += add_pattern("--error", values['e'], arguments + count);
  return count;
}

bool srun_has_job(void) {
  return values['j'];
}
