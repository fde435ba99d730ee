// Lists as Slurm's tools print them: columns for people, --format to choose them, --json for programs.
#ifndef EGIDA_CLI_TABLE_H
#define EGIDA_CLI_TABLE_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

// ---------------------------------------------------------------------------------------------------- options
struct egd_list_options {
  const char *command; // "jobs"
  const char *dir;
  const char *format; // NULL = the columns shown by default
  bool json, noheader;
};

struct egd_list_command {
  const char *name;                  // "jobs"
  const char *arguments;             // "[JOB]"
  const char *about;                 // one sentence
  const char *own_options;           // lines of --help, or NULL
  const struct egd_column *columns;  // ended by .field NULL; or NULL: no --format
  const char *short_options;         // own ones, getopt's notation, may be NULL
  const struct option *long_options; // own ones, ended by .name NULL, may be NULL
  /// An own option; false after a message = bad usage. NULL if there are none.
  bool (*option)(void *arg, int letter, const char *value);
};

/// Parse --json, -h/--noheader, -o/--format, --dir (default $EGIDA_DIR, else ./.egida), --help and the command's own
/// options. Returns the index of the first operand; -1: done (--help, *ret_exit = 0) or bad usage after a message
/// (*ret_exit = 1). argv[0] is the command's name.
int egd_list_options_parse(int argc, char **argv, const struct egd_list_command *command, void *arg,
                           struct egd_list_options *ret_options, int *ret_exit);
/// "egida NAME: message" on stderr.
void egd_list_complain(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---------------------------------------------------------------------------------------------------- tables
struct egd_column {
  const char *field; // for --format
  const char *key;   // in JSON, with the unit
  const char *title;
  bool right; // aligned: numbers
  bool shown; // by default
};

struct egd_table;
/// NULL after a message if options->format names an unknown field or a bad width, or without memory. `list`: the name of
/// the array in JSON.
struct egd_table *egd_table_create(const struct egd_column *columns, const char *list,
                                   const struct egd_list_options *options);
void egd_table_destroy(struct egd_table *table);

// Cells are added from left to right; after the last column the next row begins. Numbers below 0 and times of 0 are not
// known: "-" for people, null in JSON.
void egd_table_text(struct egd_table *table, const char *text);
void egd_table_number(struct egd_table *table, int64_t value);
void egd_table_size(struct egd_table *table, int64_t bytes);
void egd_table_duration(struct egd_table *table, int64_t ns);
/// "11-21 12:01:02", with the year if it is another one; nanoseconds since 1970 in JSON.
void egd_table_time(struct egd_table *table, uint64_t at_ns);
void egd_table_flag(struct egd_table *table, bool value);
/// `text` for people, the parsed `json` in JSON (the text if it does not parse).
void egd_table_json(struct egd_table *table, const char *text, const char *json);
unsigned egd_table_rows(const struct egd_table *table);
/// Print all rows. False after a message if stdout does not take them.
bool egd_table_print(struct egd_table *table);
/// The rows as a JSON array of objects (a new reference), for a document with more than one list.
struct json_t *egd_table_rows_as_json(const struct egd_table *table);
/// One row per line as a JSON object each, in place of one document.
bool egd_table_print_lines(struct egd_table *table);

/// The words of a JSON array of strings, joined for people; the caller frees it. NULL without memory.
char *egd_words_of_json(const char *json);
/// "11-21 12:01:02" into a buffer of 32 bytes; "-" for 0. Returns `text`.
char *egd_time_format(uint64_t at_ns, char *text);

#endif
