#include "cli/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "common/size.h"

struct cell {
  char *text;
  json_t *value;
};
struct chosen {
  unsigned column;
  int width; // 0 = as wide as the widest cell
};
struct egd_table {
  const struct egd_column *columns;
  unsigned ncolumns;
  const char *list;
  const struct egd_list_options *options;
  struct cell *cells;
  size_t ncells, room;
  struct chosen *chosen;
  unsigned nchosen;
  bool no_memory;
};

void egd_list_complain(const char *command, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "egida %s: ", command);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

// ---------------------------------------------------------------------------------------------------- options
static void print_help(const struct egd_list_command *command) {
  printf("Usage: egida %s [OPTIONS]%s%s\n%s\n\n", command->name, *command->arguments ? " " : "", command->arguments,
         command->about);
  if (command->own_options) fputs(command->own_options, stdout);
  if (command->columns)
    puts("  -h, --noheader       no line of titles\n"
         "  -o, --format=FIELDS  columns to print, e.g. \"job:12,state\"; FIELD:WIDTH cuts or pads,\n"
         "                       \"all\" is every column");
  puts("      --json           print JSON\n"
       "      --dir=DIR        folder of the jobs (default: $EGIDA_DIR, else ./.egida)\n"
       "      --help           this text");
  if (command->columns) {
    printf("\nFields (* = not shown by default):\n ");
    int at = 1;
    for (const struct egd_column *column = command->columns; column->field; column++) {
      if (at + 3 + (int)strlen(column->field) > 78) at = printf("\n ") - 1;
      at += printf(" %s%s", column->field, column->shown ? "" : "*");
    }
    puts("");
  }
  puts("\nExit codes: 0 done, 1 nothing found, bad usage or an error.");
}

int egd_list_options_parse(int argc, char **argv, const struct egd_list_command *command, void *arg,
                           struct egd_list_options *ret_options, int *ret_exit) {
  enum { JSON = 256, DIR_, HELP };
  static const struct option common[] = {
      {"json", no_argument, NULL, JSON},    {"dir", required_argument, NULL, DIR_},   {"help", no_argument, NULL, HELP},
      {"noheader", no_argument, NULL, 'h'}, {"format", required_argument, NULL, 'o'},
  };
  struct option all[32] = {0};
  unsigned count = command->columns ? 5 : 3;
  memcpy(all, common, count * sizeof *all);
  for (const struct option *own = command->long_options; own && own->name && count < 31; own++) all[count++] = *own;
  char letters[64];
  snprintf(letters, sizeof letters, ":%s%s", command->columns ? "ho:" : "",
           command->short_options ? command->short_options : "");
  const char *dir = getenv("EGIDA_DIR");
  struct egd_list_options options = {.command = command->name, .dir = dir && *dir ? dir : ".egida"};
  *ret_exit = 1;
  optind = 0; // begin anew, also after the options of `egida` itself
  opterr = 0;
  int letter;
  while ((letter = getopt_long(argc, argv, letters, all, NULL)) != -1) {
    switch (letter) {
    case JSON:
      options.json = true;
      break;
    case DIR_:
      options.dir = optarg;
      break;
    case 'h':
      options.noheader = true;
      break;
    case 'o':
      options.format = optarg;
      break;
    case HELP:
      print_help(command);
      *ret_exit = 0;
      return -1;
    case ':':
      egd_list_complain(command->name, "option '%s' needs a value; see 'egida %s --help'", argv[optind - 1],
                        command->name);
      return -1;
    case '?':
      // optopt tells a short option among several in one word, or a long one that takes no value
      if (optopt > 0 && optopt < 256 && strncmp(argv[optind - 1], "--", 2) != 0)
        egd_list_complain(command->name, "unknown option '-%c'; see 'egida %s --help'", optopt, command->name);
      else
        egd_list_complain(command->name, "unknown option or wrong value '%s'; see 'egida %s --help'", argv[optind - 1],
                          command->name);
      return -1;
    default:
      if (!command->option || !command->option(arg, letter, optarg)) return -1;
    }
  }
  *ret_options = options;
  *ret_exit = 0;
  return optind;
}

// ---------------------------------------------------------------------------------------------------- texts
// What a terminal would obey, or a line would break at, has no place in a table: programs' names come from anywhere.
static char *printable(const char *text) {
  char *copy = strdup(text);
  for (unsigned char *byte = (unsigned char *)copy; byte && *byte; byte++)
    if (*byte < 0x20 || *byte == 0x7f || (*byte == 0xc2 && byte[1] >= 0x80 && byte[1] < 0xa0)) *byte = '?';
  return copy;
}

static unsigned characters(const char *text) {
  unsigned count = 0;
  for (; *text; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
  return count;
}

char *egd_words_of_json(const char *json) {
  json_t *array = json ? json_loads(json, 0, NULL) : NULL;
  char *words = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&words, &size);
  if (out) {
    for (size_t i = 0; i < json_array_size(array); i++) {
      const char *word = json_string_value(json_array_get(array, i));
      if (!word) continue;
      const char *quote = !*word || strpbrk(word, " \t\n\"'\\$`*?&|;<>()") ? "'" : "";
      fprintf(out, "%s%s%s%s", i ? " " : "", quote, word, quote);
    }
    fclose(out);
  }
  json_decref(array);
  return words;
}

char *egd_time_format(uint64_t at_ns, char *text) {
  strcpy(text, "-");
  if (!at_ns) return text;
  time_t at = (time_t)(at_ns / 1000000000u), now = time(NULL);
  struct tm parts, today;
  localtime_r(&at, &parts);
  localtime_r(&now, &today);
  strftime(text, 32, parts.tm_year == today.tm_year ? "%m-%d %H:%M:%S" : "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

// ---------------------------------------------------------------------------------------------------- tables
static bool choose(struct egd_table *table, unsigned column, int width) {
  struct chosen *larger = reallocarray(table->chosen, table->nchosen + 1, sizeof *larger);
  if (!larger) return false;
  table->chosen = larger;
  larger[table->nchosen++] = (struct chosen){column, width};
  return true;
}

static void complain_field(const struct egd_table *table, const char *field, size_t length) {
  char known[1024] = "";
  for (unsigned i = 0; i < table->ncolumns; i++)
    snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", table->columns[i].field);
  egd_list_complain(table->options->command, "--format: no field '%.*s'; there are %s", (int)length, field, known);
}

static bool choose_by_format(struct egd_table *table, const char *format) {
  while (*format) {
    format += strspn(format, ", ");
    size_t length = strcspn(format, ",:% ");
    if (!length) break;
    const char *field = format;
    format += length;
    int width = 0;
    if (*format == ':' || *format == '%') {
      char *end;
      long value = strtol(format + 1, &end, 10);
      if (end == format + 1 || value < 1 || value > 1000 || !strchr(", ", *end)) {
        egd_list_complain(table->options->command, "--format: '%.*s' needs a width from 1 to 1000, as in \"%.*s:12\"",
                          (int)length, field, (int)length, field);
        return false;
      }
      width = (int)value;
      format = end;
    }
    bool every = length == 3 && strncasecmp(field, "all", 3) == 0, known = false;
    for (unsigned i = 0; i < table->ncolumns; i++) {
      const char *name = table->columns[i].field;
      if (every || (strlen(name) == length && strncasecmp(name, field, length) == 0)) {
        known = true;
        if (!choose(table, i, width)) return false;
      }
    }
    if (!known) {
      complain_field(table, field, length);
      return false;
    }
  }
  if (!table->nchosen) complain_field(table, "", 0);
  return table->nchosen > 0;
}

struct egd_table *egd_table_create(const struct egd_column *columns, const char *list,
                                   const struct egd_list_options *options) {
  struct egd_table *table = calloc(1, sizeof *table);
  if (!table) return NULL;
  table->columns = columns;
  table->list = list;
  table->options = options;
  while (columns[table->ncolumns].field) table->ncolumns++;
  bool good = true;
  if (options->format)
    good = choose_by_format(table, options->format);
  else
    for (unsigned i = 0; i < table->ncolumns; i++)
      if (columns[i].shown || options->json) good = good && choose(table, i, 0);
  if (good) return table;
  egd_table_destroy(table);
  return NULL;
}

void egd_table_destroy(struct egd_table *table) {
  if (!table) return;
  for (size_t i = 0; i < table->ncells; i++) {
    free(table->cells[i].text);
    json_decref(table->cells[i].value);
  }
  free(table->cells);
  free(table->chosen);
  free(table);
}

static void add(struct egd_table *table, const char *text, json_t *value) {
  if (table->ncells == table->room) {
    size_t room = table->room ? 2 * table->room : 256;
    struct cell *larger = reallocarray(table->cells, room, sizeof *larger);
    if (!larger) {
      table->no_memory = true;
      json_decref(value);
      return;
    }
    table->cells = larger;
    table->room = room;
  }
  char *copy = printable(text);
  if (!copy || !value) table->no_memory = true;
  table->cells[table->ncells++] = (struct cell){copy, value};
}

void egd_table_text(struct egd_table *table, const char *text) {
  json_t *value = text ? json_string(text) : json_null();
  add(table, text && *text ? text : "-", value ? value : json_null()); // NULL: the text is not UTF-8
}
void egd_table_number(struct egd_table *table, int64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)value);
  add(table, value < 0 ? "-" : text, value < 0 ? json_null() : json_integer(value));
}
void egd_table_size(struct egd_table *table, int64_t bytes) {
  char text[EGD_SIZE_TEXT];
  add(table, bytes < 0 ? "-" : egd_size_format((uint64_t)bytes, text), bytes < 0 ? json_null() : json_integer(bytes));
}
void egd_table_duration(struct egd_table *table, int64_t ns) {
  char text[EGD_SIZE_TEXT];
  add(table, ns < 0 ? "-" : egd_duration_format((uint64_t)ns, text), ns < 0 ? json_null() : json_integer(ns));
}
void egd_table_time(struct egd_table *table, uint64_t at_ns) {
  char text[32];
  add(table, egd_time_format(at_ns, text), at_ns ? json_integer((json_int_t)at_ns) : json_null());
}
void egd_table_flag(struct egd_table *table, bool value) {
  add(table, value ? "yes" : "no", json_boolean(value));
}
void egd_table_json(struct egd_table *table, const char *text, const char *json) {
  json_t *value = json ? json_loads(json, JSON_DECODE_ANY, NULL) : json_null();
  if (!value) value = json_string(json);
  add(table, text ? text : json ? json : "-", value ? value : json_null());
}

unsigned egd_table_rows(const struct egd_table *table) {
  return (unsigned)(table->ncells / table->ncolumns);
}

static const struct cell *cell_at(const struct egd_table *table, unsigned row, unsigned column) {
  return &table->cells[(size_t)row * table->ncolumns + column];
}

static json_t *row_as_json(const struct egd_table *table, unsigned row) {
  json_t *object = json_object();
  for (unsigned i = 0; i < table->nchosen; i++) {
    unsigned column = table->chosen[i].column;
    json_object_set(object, table->columns[column].key, cell_at(table, row, column)->value);
  }
  return object;
}

static bool flushed(const struct egd_table *table) {
  bool good = !ferror(stdout);
  if (fflush(stdout) != 0) good = false;
  if (!good) egd_list_complain(table->options->command, "stdout: %s", strerror(errno));
  return good;
}

// Too long is cut and marked as sacct does.
static void print_cell(const char *text, int width, bool right, bool last) {
  unsigned length = characters(text);
  if (width && length > (unsigned)width) {
    const char *end = text;
    for (int i = 0; i < width - 1; i++) do
        end++;
      while (((unsigned char)*end & 0xc0) == 0x80);
    printf("%.*s+", (int)(end - text), text);
    length = (unsigned)width;
  } else {
    if (right) printf("%*s", (int)((unsigned)width - length), "");
    fputs(text, stdout);
    if (!right && !last) printf("%*s", (int)((unsigned)width - length), "");
  }
  if (!last) putchar(' ');
}

static void print_columns(const struct egd_table *table) {
  unsigned rows = egd_table_rows(table);
  for (unsigned i = 0; i < table->nchosen; i++) {
    struct chosen *chosen = &table->chosen[i];
    if (chosen->width) continue;
    unsigned width = table->options->noheader ? 0 : characters(table->columns[chosen->column].title);
    for (unsigned row = 0; row < rows; row++) {
      unsigned length = characters(cell_at(table, row, chosen->column)->text);
      if (length > width) width = length;
    }
    chosen->width = (int)width;
  }
  for (unsigned line = table->options->noheader ? 1 : 0; line <= rows; line++) {
    for (unsigned i = 0; i < table->nchosen; i++) {
      const struct egd_column *column = &table->columns[table->chosen[i].column];
      const char *text = line ? cell_at(table, line - 1, table->chosen[i].column)->text : column->title;
      print_cell(text, table->chosen[i].width, column->right, i + 1 == table->nchosen);
    }
    putchar('\n');
  }
}

static bool enough_memory(const struct egd_table *table) {
  if (table->no_memory) egd_list_complain(table->options->command, "out of memory; ask for one JOB only");
  return !table->no_memory;
}

json_t *egd_table_rows_as_json(const struct egd_table *table) {
  json_t *list = json_array();
  for (unsigned row = 0; row < egd_table_rows(table); row++) json_array_append_new(list, row_as_json(table, row));
  return list;
}

bool egd_table_print(struct egd_table *table) {
  if (!enough_memory(table)) return false;
  if (table->options->json) {
    json_t *document = json_pack("{s:o}", table->list, egd_table_rows_as_json(table));
    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(document);
  } else {
    print_columns(table);
  }
  return flushed(table);
}

bool egd_table_print_lines(struct egd_table *table) {
  if (!enough_memory(table)) return false;
  for (unsigned row = 0; row < egd_table_rows(table); row++) {
    json_t *object = row_as_json(table, row);
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
  }
  return flushed(table);
}
